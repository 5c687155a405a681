// What keeps processes from going on together, and how it is written in their store.
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace visurf {

// Why the processes cannot go on together, as one of them found it.
struct Fault {
  std::vector<int> ranks;  // of those that are gone, or hold the others up
  std::string text;
};

// Thrown where processes cannot go on together.
struct Missing : std::runtime_error {
  explicit Missing(Fault fault) : std::runtime_error(fault.text), fault(std::move(fault)) {}
  Fault fault;
};

inline std::vector<uint8_t> bytes(const std::string& text) { return {text.begin(), text.end()}; }
inline std::string text(const std::vector<uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }
inline std::string keyOf(const char* what, int rank) { return std::string(what) + "/" + std::to_string(rank); }

// "rank 1", "ranks 1, 2"
std::string listed(const std::vector<int>& ranks);
// What libraries say, without places in the sources of gloo and what it tells those who maintain it.
std::string plain(std::string cause);
// What one ends with, as the others hear it.
Fault ended(int rank, const std::string& why);
std::string packed(const Fault& fault);
Fault unpacked(const std::string& text);

}  // namespace visurf
