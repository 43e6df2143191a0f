// Encodings of the AML assembler against bytes worked out from the specification.
#include "boot/aml_resources.h"

#include <gtest/gtest.h>

namespace doppel {
namespace {

using aml::Term;

TEST(Aml, IntegersTakeTheShortestForm) {
  EXPECT_EQ(aml::integer(0), (Term{0x00}));
  EXPECT_EQ(aml::integer(1), (Term{0x01}));
  EXPECT_EQ(aml::integer(5), (Term{0x0a, 0x05}));
  EXPECT_EQ(aml::integer(0x1234), (Term{0x0b, 0x34, 0x12}));
  EXPECT_EQ(aml::integer(0x12345678), (Term{0x0c, 0x78, 0x56, 0x34, 0x12}));
  EXPECT_EQ(aml::integer(0x1'0000'0000), (Term{0x0e, 0, 0, 0, 0, 1, 0, 0, 0}));
}

TEST(Aml, StringsEndWithZero) { EXPECT_EQ(aml::string("AB"), (Term{0x0d, 'A', 'B', 0x00})); }

TEST(Aml, CompressesPnpIdentifiers) {
  EXPECT_EQ(aml::eisa_id("PNP0501"), (Term{0x0c, 0x41, 0xd0, 0x05, 0x01}));
}

TEST(Aml, NamesAnObject) {
  EXPECT_EQ(aml::name("\\_S5_", aml::integer(0)), (Term{0x08, '\\', '_', 'S', '5', '_', 0x00}));
}

TEST(Aml, PackageCountsElementsAndBytes) {
  EXPECT_EQ(aml::package({aml::integer(5), aml::integer(0)}), (Term{0x12, 0x05, 0x02, 0x0a, 0x05, 0x00}));
}

TEST(Aml, LongPackagesUseTwoLengthBytes) {
  const Term body(0x3f - 4, 0xa3);
  const Term term = aml::scope("\\_SB_", body);
  // 5 bytes of name, 59 of body and 2 of length are 0x42.
  EXPECT_EQ(term[0], 0x10);
  EXPECT_EQ(term[1], 0x42);
  EXPECT_EQ(term[2], 0x04);
  EXPECT_EQ(term.size(), 1u + 0x42);
}

TEST(Aml, OneLengthByteReachesSixtyThree) {
  const Term term = aml::scope("_SB_", Term(0x3f - 5, 0xa3));
  EXPECT_EQ(term[1], 0x3f);
  EXPECT_EQ(term.size(), 1u + 0x3f);
}

TEST(Aml, VeryLongPackagesUseThreeLengthBytes) {
  const Term term = aml::scope("_SB_", Term(0x2000, 0xa3));
  EXPECT_EQ(term[1], 0x87);
  EXPECT_EQ(term[2], 0x00);
  EXPECT_EQ(term[3], 0x02);
  EXPECT_EQ(term.size(), 1u + 0x2007);
}

TEST(Aml, DevicesHaveAnExtendedOpcode) {
  EXPECT_EQ(aml::device("COM1", {}), (Term{0x5b, 0x82, 0x05, 'C', 'O', 'M', '1'}));
}

TEST(Aml, ResourceTemplateEndsWithItsTag) {
  EXPECT_EQ(aml::resource_template({aml::isa_irq(4)}),
            (Term{0x11, 0x08, 0x0a, 0x05, 0x22, 0x10, 0x00, 0x79, 0x00}));
}

TEST(Aml, PortsAreDecodedWith16Bits) {
  EXPECT_EQ(aml::io_ports(0x3f8, 8), (Term{0x47, 0x01, 0xf8, 0x03, 0xf8, 0x03, 0x01, 0x08}));
}

TEST(Aml, MethodsCountArgumentsInTheirFlags) {
  EXPECT_EQ(aml::method("_PIC", 1, aml::store(aml::argument(0), aml::reference("PICF"))),
            (Term{0x14, 0x0c, '_', 'P', 'I', 'C', 0x01, 0x70, 0x68, 'P', 'I', 'C', 'F'}));
  EXPECT_EQ(aml::when(aml::argument(1), aml::give(aml::integer(0))), (Term{0xa0, 0x04, 0x69, 0xa4, 0x00}));
}

TEST(Aml, PathsOfTwoSegmentsHaveAPrefix) {
  EXPECT_EQ(aml::notify(aml::reference("\\_SB_.VGEN"), 0x80),
            (Term{0x86, '\\', 0x2e, '_', 'S', 'B', '_', 'V', 'G', 'E', 'N', 0x0a, 0x80}));
}

TEST(Aml, FieldsOfBuffersAreNamed) {
  EXPECT_EQ(aml::dword_field(aml::argument(3), 8, "CDW3"), (Term{0x8a, 0x6b, 0x0a, 8, 'C', 'D', 'W', '3'}));
}

TEST(Aml, FixedMemoryAndInterruptsAreConsumed) {
  EXPECT_EQ(aml::fixed_memory(0xfed00000, 0x400),
            (Term{0x86, 9, 0, 1, 0x00, 0x00, 0xd0, 0xfe, 0x00, 0x04, 0, 0}));
  EXPECT_EQ(aml::io_apic_input(16), (Term{0x89, 6, 0, 9, 1, 16, 0, 0, 0}));
}

TEST(Aml, WindowsGiveBothEnds) {
  EXPECT_EQ(aml::bus_numbers(0, 0), (Term{0x88, 13, 0, 2, 0x0c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0}));
  EXPECT_EQ(aml::io_window(0xd00, 0xf300),
            (Term{0x88, 13, 0, 1, 0x0c, 3, 0, 0, 0, 0x0d, 0xff, 0xff, 0, 0, 0x00, 0xf3}));
  EXPECT_EQ(aml::memory_window32(0xc0000000, 0x20000000),
            (Term{0x87, 23,   0,    0,    0x0c, 1, 0, 0, 0, 0, 0, 0, 0,
                  0xc0, 0xff, 0xff, 0xff, 0xdf, 0, 0, 0, 0, 0, 0, 0, 0x20}));
  EXPECT_EQ(aml::memory_window64(0x800000000, 0x800000000).size(), 46u);
}

}  // namespace
}  // namespace doppel
