// Tests saving and loading: what comes back, and how damaged input is refused.
#include "state/state_buffer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace doppel {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

enum class Mode : u16 { kIdle, kBusy };

// A component with one field of each kind.
struct Sample {
  u32 number = 0;
  bool flag = false;
  Mode mode = Mode::kIdle;
  std::array<u8, 3> table = {};
  std::vector<u8> queue;

  void visit_state(StateVisitor& visitor) {
    visitor.begin("sample");
    visitor.field("number", number);
    visitor.field("flag", flag);
    visitor.field("mode", mode);
    visitor.field("table", table);
    visitor.blob("queue", queue, 16);
    visitor.end();
  }
};

Sample filled_sample() { return {0x12345678, true, Mode::kBusy, {1, 2, 3}, {9, 8, 7, 6}}; }

std::vector<u8> save(Sample sample) {
  StateSaver saver;
  sample.visit_state(saver);
  return saver.take();
}

Result<void> load(std::span<const u8> state, Sample& sample) {
  StateLoader loader(state);
  sample.visit_state(loader);
  return loader.finish();
}

std::string load_error(std::span<const u8> state) {
  Sample sample;
  const auto result = load(state, sample);
  return result ? "" : result.error().message;
}

std::size_t first_accepted_length(std::span<const u8> state) {
  std::size_t length = 0;
  while (length < state.size() && !load_error(state.first(length)).empty()) ++length;
  return length;
}

TEST(StateBuffer, LoadedFieldsEqualSavedOnes) {
  Sample sample;

  const auto result = load(save(filled_sample()), sample);

  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(sample.number, 0x12345678u);
  EXPECT_TRUE(sample.flag);
  EXPECT_EQ(sample.mode, Mode::kBusy);
  EXPECT_THAT(sample.table, ElementsAre(1, 2, 3));
  EXPECT_THAT(sample.queue, ElementsAre(9, 8, 7, 6));
}

TEST(StateBuffer, SaverWritesMagicAndVersionFirst) {
  StateSaver saver;
  EXPECT_THAT(saver.take(), ElementsAre('D', 'O', 'P', 'P', 'E', 'L', 'S', 'T', 1, 0, 0, 0));
}

TEST(StateBuffer, FieldOverheadIsNameAndSixBytes) {
  StateSaver saver;
  std::array<u8, 4096> page = {};
  saver.bytes("page", page);
  EXPECT_EQ(saver.take().size(), kStateHeaderSize + 4096 + 4 + 6);
}

TEST(StateLoader, RefusesForeignFiles) {
  EXPECT_THAT(load_error({}), HasSubstr("magic"));
  EXPECT_THAT(load_error(std::vector<u8>(100, 0x5a)), HasSubstr("magic"));
}

TEST(StateLoader, RefusesAnotherVersion) {
  auto state = save(filled_sample());
  state[8] = 77;
  EXPECT_THAT(load_error(state), HasSubstr("version 77"));
}

TEST(StateLoader, NamesTheFieldWhereTheFileEnds) {
  const auto state = save(filled_sample());
  EXPECT_THAT(load_error(std::span(state).first(kStateHeaderSize)), HasSubstr("group 'sample'"));
  EXPECT_THAT(load_error(std::span(state).first(state.size() - 1)), HasSubstr("ends where end of group"));
  EXPECT_THAT(load_error(std::span(state).first(state.size() - 2)),
              HasSubstr("ends where blob 'sample/queue'"));
}

TEST(StateLoader, RefusesEveryTruncation) {
  const auto state = save(filled_sample());
  EXPECT_EQ(first_accepted_length(state), state.size());
}

TEST(StateLoader, RefusesBytesAfterTheLastField) {
  auto state = save(filled_sample());
  state.push_back(0);
  EXPECT_THAT(load_error(state), HasSubstr("1 bytes after"));
}

TEST(StateLoader, NamesAFieldThatIsNotThere) {
  StateSaver saver;
  u32 other = 0;
  saver.begin("sample");
  saver.field("other", other);
  saver.end();
  EXPECT_EQ(load_error(saver.take()), "saved state has field 'other' where field 'sample/number' should be");
}

TEST(StateLoader, NamesAFieldOfTheWrongSize) {
  StateSaver saver;
  u64 wide = 0;
  saver.begin("sample");
  saver.field("number", wide);
  saver.end();
  EXPECT_EQ(load_error(saver.take()), "saved state: field 'sample/number' has 8 bytes; this machine needs 4");
}

TEST(StateLoader, RefusesABlobAboveItsLimit) {
  StateSaver saver;
  std::vector<u8> data(17);
  saver.blob("queue", data, 17);
  const auto state = saver.take();
  std::vector<u8> target = {1};

  StateLoader loader(state);
  loader.blob("queue", target, 16);

  EXPECT_FALSE(loader.finish());
  EXPECT_THAT(target, ElementsAre(1));
}

TEST(StateLoader, RefusesALengthBeyondTheBuffer) {
  StateSaver saver;
  u8 byte = 0;
  saver.bytes("x", {&byte, 1});
  auto state = saver.take();
  state[kStateHeaderSize + 3 + 3] = 0xff;  // the length's top byte

  StateLoader loader(state);
  loader.bytes("x", {&byte, 1});

  EXPECT_THAT(loader.finish().error().message, HasSubstr("ends where field 'x'"));
}

TEST(StateLoader, LeavesFieldsUntouchedAfterAnError) {
  StateSaver saver;
  u32 first = 1;
  u32 second = 2;
  saver.field("first", first);
  saver.field("second", second);
  const auto state = saver.take();
  u32 number = 10;
  u32 later = 20;

  StateLoader loader(state);
  loader.field("wrong", number);
  loader.field("second", later);

  EXPECT_TRUE(loader.has_failed());
  EXPECT_EQ(number, 10u);
  EXPECT_EQ(later, 20u);
}

TEST(StateLoader, KeepsTheFirstOfSeveralErrors) {
  StateSaver saver;
  const auto state = saver.take();
  StateLoader loader(state);

  loader.reject("first");
  loader.reject("second");

  EXPECT_EQ(loader.finish().error().message, "saved state: first");
}

TEST(StateLoader, ReportsAnUnfinishedGroup) {
  StateSaver saver;
  saver.begin("outer");
  saver.end();
  const auto state = saver.take();
  StateLoader loader(std::span(state).first(state.size() - 1));

  loader.begin("outer");

  EXPECT_THAT(loader.finish().error().message, HasSubstr("'outer/' is not finished"));
}

TEST(StateLoader, DoesNotEchoControlCharacters) {
  StateSaver saver;
  saver.begin("\x1b[2J");
  saver.end();
  EXPECT_EQ(load_error(saver.take()), "saved state has group '?[2J' where group 'sample' should be");
}

}  // namespace
}  // namespace doppel
