// Package sources and settings of the host's apt, for images that use the same ones.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace doppel {

struct AptSource {
  std::string uri;
  std::string suite;
  std::vector<std::string> components;
  std::string signed_by;  // as written; empty: any trusted key

  // As a line of sources.list, without the key: an image has the archive's keys.
  std::string line() const;
};

// The sources of binary packages in a file of the one-line format (sources.list, *.list) or of the deb822
// format (*.sources). What it cannot read is left out.
std::vector<AptSource> parse_apt_list(std::string_view text);
std::vector<AptSource> parse_apt_stanzas(std::string_view text);

// Those of the Debian archive that belong to a suite: itself, its updates and its security updates.
std::vector<AptSource> sources_of_suite(const std::vector<AptSource>& all, std::string_view suite);

// Every source of this host.
std::vector<AptSource> read_host_apt_sources();

// From the output of `apt-config dump` the settings without which the host's mirror cannot be used.
std::vector<std::string> apt_settings(std::string_view dump);

}  // namespace doppel
