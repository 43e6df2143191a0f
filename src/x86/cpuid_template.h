// CpuTemplate: the rows from which a CpuidTable is built.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"
#include "x86/features.h"

namespace doppel::x86 {

// A processor model before masking.
struct CpuTemplate {
  std::string vendor;
  std::string brand;
  u32 signature = 0;
  FeatureSet features;
};

// nullopt for an unknown name.
std::optional<CpuTemplate> cpu_template(std::string_view name);
std::vector<std::string_view> cpu_template_names();

// Removes features whose prerequisites are not in the set.
void remove_dependents(FeatureSet& features);

}  // namespace doppel::x86
