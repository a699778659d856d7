// SHA-256 (FIPS 180-4), for the digest by which a gallery names its embedder.
#pragma once

#include <string>

// As 64 hexadecimal digits.
std::string sha256(const std::string &data);
