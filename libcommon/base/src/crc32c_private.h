/* The table form of CRC-32C, which the tests hold against the hardware's. */
#ifndef TIDE_BASE_CRC32C_PRIVATE_H
#define TIDE_BASE_CRC32C_PRIVATE_H

#include "tide/base/hash.h"

uint32_t tide__crc32c_portable(uint32_t crc, struct tide_slice s);

#endif
