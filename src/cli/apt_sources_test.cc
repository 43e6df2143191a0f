// The host's package sources in both formats, and which of them an image gets.
#include "cli/apt_sources.h"

#include <gtest/gtest.h>

namespace doppel {
namespace {

std::vector<std::string> lines_of(const std::vector<AptSource>& sources) {
  std::vector<std::string> lines;
  for (const AptSource& source : sources) lines.push_back(source.line());
  return lines;
}

using Lines = std::vector<std::string>;

TEST(AptSources, OneLineFormat) {
  const auto sources = parse_apt_list(
      "# deb http://mirror.example/debian old main\n"
      "deb http://mirror.example/debian bookworm main contrib  # comment\n"
      "deb-src http://mirror.example/debian bookworm main\n"
      "deb [arch=amd64 signed-by=/keys/one.gpg] http://other.example/ stable tools\n"
      "deb http://flat.example/ ./\n");
  EXPECT_EQ(lines_of(sources), (Lines{"deb http://mirror.example/debian bookworm main contrib",
                                      "deb http://other.example/ stable tools"}));
  EXPECT_EQ(sources[1].signed_by, "/keys/one.gpg");
}

TEST(AptSources, StanzaFormat) {
  const auto sources = parse_apt_stanzas(
      "Types: deb deb-src\n"
      "# a comment\n"
      "URIs: http://one.example/debian http://two.example/debian\n"
      "Suites: bookworm\n bookworm-updates\n"
      "components: main\n"
      "\n"
      "Types: deb\nURIs: http://off.example\nSuites: bookworm\nComponents: main\nEnabled: no\n"
      "\n"
      "Types: deb-src\nURIs: http://source.example\nSuites: bookworm\nComponents: main\n");
  EXPECT_EQ(lines_of(sources), (Lines{"deb http://one.example/debian bookworm main",
                                      "deb http://one.example/debian bookworm-updates main",
                                      "deb http://two.example/debian bookworm main",
                                      "deb http://two.example/debian bookworm-updates main"}));
}

TEST(AptSources, StanzaWithoutEndOrFieldsIsHarmless) {
  EXPECT_TRUE(parse_apt_stanzas(" continued\n:\nTypes: deb\nURIs: http://one.example").empty());
}

TEST(AptSources, SuiteHasItsUpdatesAndNoOtherArchive) {
  const auto sources = parse_apt_list(
      "deb http://mirror.example/debian bookworm main\n"
      "deb http://mirror.example/debian bookworm-updates main\n"
      "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://s.example bookworm-security "
      "main\n"
      "deb http://mirror.example/debian bookworm-backports main\n"
      "deb http://mirror.example/debian trixie main\n"
      "deb [signed-by=/keys/vendor.gpg] http://vendor.example bookworm main\n");
  EXPECT_EQ(lines_of(sources_of_suite(sources, "bookworm")),
            (Lines{"deb http://mirror.example/debian bookworm main",
                   "deb http://mirror.example/debian bookworm-updates main",
                   "deb http://s.example bookworm-security main"}));
}

TEST(AptSources, OnlySettingsThatTheMirrorNeedsAreTaken) {
  EXPECT_EQ(apt_settings("APT::Architecture \"amd64\";\n"
                         "Acquire::http::Proxy \"http://proxy.example:3128\";\n"
                         "Acquire::https::Proxy \"\";\n"
                         "Acquire::Check-Date \"false\";\n"
                         "Acquire::Languages \"\";\n"
                         "Acquire::Languages:: \"none\";\n"
                         "Acquire::http::Proxy-Auto-Detect \"/bin/x\";\n"),
            (Lines{"Acquire::http::Proxy \"http://proxy.example:3128\";", "Acquire::Check-Date \"false\";",
                   "Acquire::Languages:: \"none\";"}));
}

}  // namespace
}  // namespace doppel
