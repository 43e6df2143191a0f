// Copying a block to another place.
#include "engine/jit/relocation.h"

#include <cstring>

namespace doppel::jit {
namespace {

constexpr u64 sign_extended(u32 value) { return static_cast<u64>(static_cast<i64>(static_cast<i32>(value))); }

template <class T>
T load(const u8* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}
template <class T>
void store(u8* at, T value) {
  std::memcpy(at, &value, sizeof(T));
}

// False: the address does not fit where it has to go.
bool move_address(u8* at, Relocation::Kind kind, u64 distance) {
  const u32 half = load<u32>(at);
  u64 address = distance;
  switch (kind) {
    case Relocation::Kind::kAddressZero:
      address += half;
      break;
    case Relocation::Kind::kAddressSigned:
      address += sign_extended(half);
      break;
    case Relocation::Kind::kAddressLow:
      store<u32>(at, half + static_cast<u32>(distance));
      return true;
    default:
      address += load<u64>(at);
      store<u64>(at, address);
      return address_kind(address) == kind;
  }
  store<u32>(at, static_cast<u32>(address));
  return address_kind(address) == kind;
}

}  // namespace

Relocation::Kind address_kind(u64 address) {
  switch (Assembler::immediate_of(address)) {
    case Assembler::Immediate::kZeroExtended:
      return Relocation::Kind::kAddressZero;
    case Assembler::Immediate::kSignExtended:
      return Relocation::Kind::kAddressSigned;
    case Assembler::Immediate::kWhole:
      break;
  }
  return Relocation::Kind::kAddress;
}

std::optional<Block> copy_block(const Block& block, std::span<const Relocation> relocations, const u8* from,
                                u8* to, u64 rip, u32 position) {
  const u64 distance = rip - block.key.rip;
  const u32 shift = position - block.start;
  std::memcpy(to, from, block.size);
  for (const Relocation& relocation : relocations) {
    u8* at = to + relocation.at;
    switch (relocation.kind) {
      case Relocation::Kind::kOutside:
        store<u32>(at, load<u32>(at) - shift);
        break;
      case Relocation::Kind::kPlace:
        store<u32>(at, load<u32>(at) + shift);
        break;
      case Relocation::Kind::kBranch:
        store<i32>(at, relocation.target - (relocation.at + 4));
        break;
      case Relocation::Kind::kEpoch:
        store<i32>(at, -static_cast<i32>(kEpochBits));
        break;
      case Relocation::Kind::kFault:
        break;
      default:
        if (!move_address(at, relocation.kind, distance)) return std::nullopt;
    }
  }
  Block copy = block;
  copy.key.rip = rip;
  copy.start = position;
  return copy;
}

}  // namespace doppel::jit
