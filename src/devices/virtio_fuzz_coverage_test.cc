// The fuzz target virtio_fuzz drives every row of the registry, and nothing that is no row.
#include <gtest/gtest.h>

#include <set>

#include "devices/virtio_registry.h"
#include "fuzz/virtio_devices.h"

namespace doppel {
namespace {

TEST(VirtioFuzz, DrivesEveryRegistryRow) {
  std::set<std::string_view> rows;
  for (const VirtioRow& row : virtio_rows()) rows.insert(row.option);
  std::set<std::string_view> driven;
  for (const fuzz::TargetKind& kind : fuzz::kTargetKinds) driven.insert(kind.option);
  EXPECT_EQ(driven, rows) << "fuzz/virtio_devices.h: kTargetKinds";
}

}  // namespace
}  // namespace doppel
