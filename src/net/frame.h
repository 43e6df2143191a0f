// What back ends do with a frame's bytes: gather them and complete its checksum.
#pragma once

#include <vector>

#include "net/net_backend.h"

namespace doppel {

// Total length of the pieces in bytes.
std::size_t frame_size(std::span<const iovec> pieces);

// Copies the pieces into `frame`, which takes their total size; false when that exceeds kMaxFrameSize.
bool gather_frame(std::span<const iovec> pieces, std::vector<u8>& frame);

// The Internet checksum's sum (RFC 1071) of big-endian 16-bit words, folded to 16 bits; an odd last byte
// counts as the high one.
u16 ones_complement_sum(std::span<const u8> data);

// Computes the checksum that the header leaves to the device (virtio 1.2 5.1.6.2): over everything from
// checksum_start, the pseudo-header's sum in the field included. False when the field is not in the frame.
bool complete_checksum(const NetHeader& header, std::span<u8> frame);

}  // namespace doppel
