// Tests of splitting options at commas and of the lines that refuse them.
#include "base/option_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace doppel {
namespace {

using testing::ElementsAre;

constexpr OptionKey kKeys[] = {{"size"}, {"fast"}, {"count"}, {"forward", true}};

Result<OptionList> parse(std::string_view text) {
  return OptionList::parse("--thing", "a file", text, kKeys);
}
std::string error_of(std::string_view text) {
  const Result<OptionList> list = parse(text);
  if (list) return "";
  EXPECT_TRUE(list.error().is_usage);
  return list.error().message;
}

TEST(OptionList, SubjectStandsAlone) {
  const OptionList list = *parse("disk.img");
  EXPECT_EQ(list.subject(), "disk.img");
  EXPECT_FALSE(list.has("size"));
  EXPECT_EQ(list.text("size", "none"), "none");
  EXPECT_EQ(*list.size("size", 7), 7u);
  EXPECT_TRUE(*list.flag("fast", true));
  EXPECT_EQ(*list.number("count", 3, 1, 8), 3u);
}

TEST(OptionList, ReadsEachKindOfValue) {
  const OptionList list = *parse("a,size=2M,fast=on,count=8");
  EXPECT_EQ(list.text("size"), "2M");
  EXPECT_EQ(*list.size("size", 0), 2 * kMiB);
  EXPECT_TRUE(*list.flag("fast", false));
  EXPECT_EQ(*list.number("count", 1, 1, 8), 8u);
}

TEST(OptionList, TwoCommasAreOneInsideAPart) {
  const OptionList list = *parse("a,,b,size=1,,2");
  EXPECT_EQ(list.subject(), "a,b");
  EXPECT_EQ(list.text("size"), "1,2");
}

TEST(OptionList, ValuesMayHoldEqualsSigns) { EXPECT_EQ(parse("a,size=b=c")->text("size"), "b=c"); }

TEST(OptionList, KeepsRepeatedValuesInOrder) {
  EXPECT_THAT(parse("a,forward=x,forward=y")->all("forward"), ElementsAre("x", "y"));
}

TEST(OptionList, RefusesWhatItDoesNotUnderstand) {
  EXPECT_EQ(error_of(""), "--thing '': begins without a file");
  EXPECT_EQ(error_of(",size=1"), "--thing ',size=1': begins without a file");
  EXPECT_EQ(error_of("a,size"), "--thing: 'size' is not of the form key=value");
  EXPECT_EQ(error_of("a,size="), "--thing: 'size=' is not of the form key=value");
  EXPECT_EQ(error_of("a,=1"), "--thing: '=1' is not of the form key=value");
  EXPECT_EQ(error_of("a,"), "--thing: '' is not of the form key=value");
  EXPECT_EQ(error_of("a,colour=red"), "--thing: no key 'colour'; it knows size, fast, count, forward");
  EXPECT_EQ(error_of("a,size=1,size=1"), "--thing: size is given twice");
}

TEST(OptionList, RefusesBadValues) {
  const OptionList list = *parse("a,size=much,fast=yes,count=9");
  EXPECT_EQ(list.size("size", 0).error().message,
            "--thing: size=much: give a size in bytes, or with K, M or G");
  EXPECT_EQ(list.flag("fast", false).error().message, "--thing: fast=yes: give on or off");
  EXPECT_EQ(list.number("count", 1, 1, 8).error().message, "--thing: count=9: give a number from 1 to 8");
}

}  // namespace
}  // namespace doppel
