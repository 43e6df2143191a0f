// The XML document that tells GDB which registers there are.
#include <fmt/format.h>

#include "front/gdb/registers.h"

namespace doppel::gdb {
namespace {

struct FlagBit {
  std::string_view name;
  unsigned bit;
};

std::string flags_type(std::string_view name, std::span<const FlagBit> all) {
  std::string text = fmt::format("<flags id=\"{}\" size=\"4\">\n", name);
  for (const FlagBit& flag : all)
    text += fmt::format("<field name=\"{0}\" start=\"{1}\" end=\"{1}\"/>\n", flag.name, flag.bit);
  return text + "</flags>\n";
}

// Types that a feature's registers refer to.
std::string types_of(std::string_view feature) {
  static constexpr FlagBit kFlags[] = {{"CF", 0},   {"", 1},    {"PF", 2},  {"AF", 4},  {"ZF", 6},
                                       {"SF", 7},   {"TF", 8},  {"IF", 9},  {"DF", 10}, {"OF", 11},
                                       {"NT", 14},  {"RF", 16}, {"VM", 17}, {"AC", 18}, {"VIF", 19},
                                       {"VIP", 20}, {"ID", 21}};
  static constexpr FlagBit kMxcsr[] = {{"IE", 0},  {"DE", 1},  {"ZE", 2},  {"OE", 3}, {"UE", 4},
                                       {"PE", 5},  {"DAZ", 6}, {"IM", 7},  {"DM", 8}, {"ZM", 9},
                                       {"OM", 10}, {"UM", 11}, {"PM", 12}, {"FZ", 15}};
  if (feature == "org.gnu.gdb.i386.core") return flags_type("i386_eflags", kFlags);
  if (feature != "org.gnu.gdb.i386.sse") return {};
  return flags_type("i386_mxcsr", kMxcsr) +
         "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>\n"
         "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>\n"
         "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>\n"
         "<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>\n"
         "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>\n"
         "<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>\n"
         "<union id=\"vec128\">\n"
         "<field name=\"v4_float\" type=\"v4f\"/>\n"
         "<field name=\"v2_double\" type=\"v2d\"/>\n"
         "<field name=\"v16_int8\" type=\"v16i8\"/>\n"
         "<field name=\"v8_int16\" type=\"v8i16\"/>\n"
         "<field name=\"v4_int32\" type=\"v4i32\"/>\n"
         "<field name=\"v2_int64\" type=\"v2i64\"/>\n"
         "<field name=\"uint128\" type=\"uint128\"/>\n"
         "</union>\n";
}

std::string build() {
  std::string text =
      "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target version=\"1.0\">\n"
      "<architecture>i386:x86-64</architecture>\n";
  std::string_view feature;
  unsigned number = 0;
  for (const Register& one : registers()) {
    if (one.feature != feature) {
      if (!feature.empty()) text += "</feature>\n";
      feature = one.feature;
      text += fmt::format("<feature name=\"{}\">\n{}", feature, types_of(feature));
    }
    text += fmt::format("<reg name=\"{}\" bitsize=\"{}\" type=\"{}\" regnum=\"{}\"/>\n", one.name, one.bits,
                        one.type, number++);
  }
  return text + "</feature>\n</target>\n";
}

}  // namespace

const std::string& target_description() {
  static const std::string kText = build();
  return kText;
}

}  // namespace doppel::gdb
