// StateVisitor: a component describes its state once; saving, loading, hashing and printing all use that.
#pragma once

#include <array>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/metrics.h"
#include "base/types.h"

namespace doppel {

// Visits named fields in a fixed order. A visitor either reads the fields (save, hash, print) or overwrites
// them (load); components do the same calls for both and fix up derived values when is_loading().
class StateVisitor {
 public:
  virtual ~StateVisitor() = default;

  // A named group of fields: one per component or array element.
  virtual void begin(std::string_view name) = 0;
  virtual void end() = 0;

  // The raw bytes of one field, of fixed size.
  virtual void bytes(std::string_view name, std::span<u8> data) = 0;

  // A byte string whose length is part of the state. A loader refuses more than `max_size` bytes.
  virtual void blob(std::string_view name, std::vector<u8>& data, std::size_t max_size) = 0;

  virtual bool is_loading() const = 0;

  // Marks a loaded value as impossible; loading then fails with `what`.
  virtual void reject(std::string_view what) = 0;

  template <class T>
    requires(std::is_integral_v<T> || std::is_enum_v<T>)
  void field(std::string_view name, T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      u8 byte = value ? 1 : 0;
      bytes(name, {&byte, 1});
      value = byte != 0;
    } else {
      bytes(name, {reinterpret_cast<u8*>(&value), sizeof(value)});
    }
  }

  // Plain arrays and structs without padding or pointers.
  template <class T, std::size_t N>
    requires(std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>)
  void field(std::string_view name, std::array<T, N>& values) {
    bytes(name, {reinterpret_cast<u8*>(values.data()), sizeof(values)});
  }
};

// What every part of a machine that has state looks like.
class Component {
 public:
  virtual ~Component() = default;
  virtual std::string_view name() const = 0;
  // Power-on state.
  virtual void reset() = 0;
  virtual void visit_state(StateVisitor& visitor) = 0;
  // Lists what the component counts; the list's common label says which component it is.
  virtual void add_metrics(MetricList& /*list*/) const {}
  // Stops and restarts whatever the component does on its own; most have nothing to do.
  virtual void pause() {}
  virtual void resume() {}
};

}  // namespace doppel
