// Structures of virtio over PCI: capabilities and the common configuration. virtio 1.2 section 4.1.4.
#pragma once

#include "base/types.h"

namespace doppel::virtio_pci {

// 4.1.4.3.
struct CommonConfig {
  u32 device_feature_select;
  u32 device_feature;
  u32 driver_feature_select;
  u32 driver_feature;
  u16 config_msix_vector;
  u16 queue_count;
  u8 device_status;
  u8 config_generation;
  u16 queue_select;
  u16 queue_size;
  u16 queue_msix_vector;
  u16 queue_enable;
  u16 queue_notify_off;
  u64 queue_desc;
  u64 queue_driver;
  u64 queue_device;
  u16 queue_notify_data;
  u16 queue_reset;
  u32 padding;
};
static_assert(sizeof(CommonConfig) == 64);

// cfg_type of a capability, 4.1.4.
enum class Region : u8 { kCommon = 1, kNotify = 2, kIsr = 3, kDevice = 4, kConfigAccess = 5 };

// What follows the identifier and the next pointer of a vendor capability.
struct CapabilityBody {
  u8 length;  // of the whole capability
  Region region;
  u8 bar;
  u8 id;
  u16 padding;
  u16 offset_low;  // split in halves: the body starts 2 bytes into the capability
  u16 offset_high;
  u16 length_low;
  u16 length_high;
  u16 extra_low;  // kNotify: the multiplier; kConfigAccess: the data window
  u16 extra_high;
};
static_assert(sizeof(CapabilityBody) == 18);

// PCI class of each device type: network, mass storage, communication and memory controllers; what PCI has no
// class for is unclassified (PCI Code and ID Assignment 1.12).
constexpr u32 class_code(u16 virtio_device_id) {
  switch (virtio_device_id) {
    case 1:  // network
      return 0x020000;
    case 2:  // block
      return 0x018000;
    case 3:  // console
      return 0x078000;
    case 8:  // SCSI host
      return 0x010000;
    case 16:  // GPU
      return 0x038000;
    case 18:  // input
      return 0x098000;
    case 19:  // socket
      return 0x028000;
    case 26:  // file system
      return 0x018000;
    default:
      return 0x00ff00;
  }
}

}  // namespace doppel::virtio_pci
