// Makes a failing block smaller.
#pragma once

#include "tests/blocks/judge.h"

namespace doppel::blocks {

// Replaces instructions by NOPs as long as `way` still differs. False when it does not differ to begin with.
bool minimize(Judge& judge, Block& block, const Start& start, Way way, u64 seed);

}  // namespace doppel::blocks
