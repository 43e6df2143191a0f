// The CPUID feature bits that doppel knows, one row each. SDM 2A CPUID; AMD APM 3 appendix E.
//
// X(enumerator, name in /proc/cpuinfo style, leaf, subleaf, register, bit, support)
// Support: kBorrowed = the guest's instruction runs on the host, which must have the feature;
//          kEmulated = done in C++ or pure CPUID information, on every host.
#pragma once

// clang-format off
#define DOPPEL_X86_FEATURES(X)                                          \
  X(kFpu,            "fpu",            1, 0, kEdx,  0, kBorrowed)       \
  X(kVme,            "vme",            1, 0, kEdx,  1, kEmulated)       \
  X(kDe,             "de",             1, 0, kEdx,  2, kEmulated)       \
  X(kPse,            "pse",            1, 0, kEdx,  3, kEmulated)       \
  X(kTsc,            "tsc",            1, 0, kEdx,  4, kEmulated)       \
  X(kMsr,            "msr",            1, 0, kEdx,  5, kEmulated)       \
  X(kPae,            "pae",            1, 0, kEdx,  6, kEmulated)       \
  X(kMce,            "mce",            1, 0, kEdx,  7, kEmulated)       \
  X(kCx8,            "cx8",            1, 0, kEdx,  8, kEmulated)       \
  X(kApic,           "apic",           1, 0, kEdx,  9, kEmulated)       \
  X(kSep,            "sep",            1, 0, kEdx, 11, kEmulated)       \
  X(kMtrr,           "mtrr",           1, 0, kEdx, 12, kEmulated)       \
  X(kPge,            "pge",            1, 0, kEdx, 13, kEmulated)       \
  X(kMca,            "mca",            1, 0, kEdx, 14, kEmulated)       \
  X(kCmov,           "cmov",           1, 0, kEdx, 15, kEmulated)       \
  X(kPat,            "pat",            1, 0, kEdx, 16, kEmulated)       \
  X(kPse36,          "pse36",          1, 0, kEdx, 17, kEmulated)       \
  X(kClflush,        "clflush",        1, 0, kEdx, 19, kEmulated)       \
  X(kMmx,            "mmx",            1, 0, kEdx, 23, kBorrowed)       \
  X(kFxsr,           "fxsr",           1, 0, kEdx, 24, kEmulated)       \
  X(kSse,            "sse",            1, 0, kEdx, 25, kBorrowed)       \
  X(kSse2,           "sse2",           1, 0, kEdx, 26, kBorrowed)       \
  X(kSelfSnoop,      "ss",             1, 0, kEdx, 27, kEmulated)       \
  X(kHtt,            "ht",             1, 0, kEdx, 28, kEmulated)       \
  X(kSse3,           "pni",            1, 0, kEcx,  0, kBorrowed)       \
  X(kPclmulqdq,      "pclmulqdq",      1, 0, kEcx,  1, kBorrowed)       \
  X(kMonitor,        "monitor",        1, 0, kEcx,  3, kEmulated)       \
  X(kSsse3,          "ssse3",          1, 0, kEcx,  9, kBorrowed)       \
  X(kFma,            "fma",            1, 0, kEcx, 12, kBorrowed)       \
  X(kCx16,           "cx16",           1, 0, kEcx, 13, kEmulated)       \
  X(kPcid,           "pcid",           1, 0, kEcx, 17, kEmulated)       \
  X(kSse41,          "sse4_1",         1, 0, kEcx, 19, kBorrowed)       \
  X(kSse42,          "sse4_2",         1, 0, kEcx, 20, kBorrowed)       \
  X(kX2Apic,         "x2apic",         1, 0, kEcx, 21, kEmulated)       \
  X(kMovbe,          "movbe",          1, 0, kEcx, 22, kEmulated)       \
  X(kPopcnt,         "popcnt",         1, 0, kEcx, 23, kBorrowed)       \
  X(kTscDeadline,    "tsc_deadline_timer", 1, 0, kEcx, 24, kEmulated)   \
  X(kAes,            "aes",            1, 0, kEcx, 25, kBorrowed)       \
  X(kXsave,          "xsave",          1, 0, kEcx, 26, kEmulated)       \
  X(kAvx,            "avx",            1, 0, kEcx, 28, kBorrowed)       \
  X(kF16c,           "f16c",           1, 0, kEcx, 29, kBorrowed)       \
  X(kRdrand,         "rdrand",         1, 0, kEcx, 30, kEmulated)       \
  X(kHypervisor,     "hypervisor",     1, 0, kEcx, 31, kEmulated)       \
  X(kFsgsbase,       "fsgsbase",       7, 0, kEbx,  0, kEmulated)       \
  X(kTscAdjust,      "tsc_adjust",     7, 0, kEbx,  1, kEmulated)       \
  X(kBmi1,           "bmi1",           7, 0, kEbx,  3, kBorrowed)       \
  X(kAvx2,           "avx2",           7, 0, kEbx,  5, kBorrowed)       \
  X(kFdpExceptionOnly, "fdp_excptn_only", 7, 0, kEbx, 6, kEmulated)     \
  X(kSmep,           "smep",           7, 0, kEbx,  7, kEmulated)       \
  X(kBmi2,           "bmi2",           7, 0, kEbx,  8, kBorrowed)       \
  X(kErms,           "erms",           7, 0, kEbx,  9, kEmulated)       \
  X(kInvpcid,        "invpcid",        7, 0, kEbx, 10, kEmulated)       \
  X(kNoFcsFds,       "zero_fcs_fds",   7, 0, kEbx, 13, kEmulated)       \
  X(kRdseed,         "rdseed",         7, 0, kEbx, 18, kEmulated)       \
  X(kAdx,            "adx",            7, 0, kEbx, 19, kBorrowed)       \
  X(kSmap,           "smap",           7, 0, kEbx, 20, kEmulated)       \
  X(kClflushopt,     "clflushopt",     7, 0, kEbx, 23, kEmulated)       \
  X(kClwb,           "clwb",           7, 0, kEbx, 24, kEmulated)       \
  X(kSha,            "sha_ni",         7, 0, kEbx, 29, kBorrowed)       \
  X(kUmip,           "umip",           7, 0, kEcx,  2, kEmulated)       \
  X(kGfni,           "gfni",           7, 0, kEcx,  8, kBorrowed)       \
  X(kVaes,           "vaes",           7, 0, kEcx,  9, kBorrowed)       \
  X(kVpclmulqdq,     "vpclmulqdq",     7, 0, kEcx, 10, kBorrowed)       \
  X(kLa57,           "la57",           7, 0, kEcx, 16, kEmulated)       \
  X(kRdpid,          "rdpid",          7, 0, kEcx, 22, kEmulated)       \
  X(kFsrm,           "fsrm",           7, 0, kEdx,  4, kEmulated)       \
  X(kMdClear,        "md_clear",       7, 0, kEdx, 10, kEmulated)       \
  X(kSerialize,      "serialize",      7, 0, kEdx, 14, kEmulated)       \
  X(kSpecCtrl,       "spec_ctrl",      7, 0, kEdx, 26, kEmulated)       \
  X(kArchCapabilities, "arch_capabilities", 7, 0, kEdx, 29, kEmulated)  \
  X(kAvxVnni,        "avx_vnni",       7, 1, kEax,  4, kBorrowed)       \
  X(kXsaveopt,       "xsaveopt",     0xd, 1, kEax,  0, kEmulated)       \
  X(kXsavec,         "xsavec",       0xd, 1, kEax,  1, kEmulated)       \
  X(kXgetbv1,        "xgetbv1",      0xd, 1, kEax,  2, kEmulated)       \
  X(kLahf,           "lahf_lm", 0x80000001, 0, kEcx,  0, kEmulated)     \
  X(kLzcnt,          "abm",     0x80000001, 0, kEcx,  5, kBorrowed)     \
  X(kPrefetchw,      "3dnowprefetch", 0x80000001, 0, kEcx, 8, kEmulated) \
  X(kSyscall,        "syscall", 0x80000001, 0, kEdx, 11, kEmulated)     \
  X(kNx,             "nx",      0x80000001, 0, kEdx, 20, kEmulated)     \
  X(kPage1Gb,        "pdpe1gb", 0x80000001, 0, kEdx, 26, kEmulated)     \
  X(kRdtscp,         "rdtscp",  0x80000001, 0, kEdx, 27, kEmulated)     \
  X(kLongMode,       "lm",      0x80000001, 0, kEdx, 29, kEmulated)     \
  X(kInvariantTsc,   "invariant_tsc", 0x80000007, 0, kEdx, 8, kEmulated)
// clang-format on
