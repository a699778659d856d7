#include "gallery.hpp"

#include <cstdint>
#include <cstring>
#include <fstream>
#include <map>
#include <stdexcept>

#ifdef WITH_FAISS
#include <faiss/IndexFlat.h>
#endif

namespace {

// Below this the sizes of a file can't overflow.
constexpr long most_items = 100'000'000, most_dim = 65'536;

long whole(const std::map<std::string, std::string> &header, const std::string &name, long most) {
    const auto found = header.find(name);
    if (found == header.end()) throw std::runtime_error("its header has no " + name);
    std::size_t read = 0;
    long value = -1;
    try {
        value = std::stol(found->second, &read);
    } catch (const std::exception &) {
        read = 0;
    }
    if (read == 0 || read != found->second.size() || value < 0 || value > most)
        throw std::runtime_error("its header has a wrong " + name);
    return value;
}

// Four bytes, the lowest first, on any machine.
float little_endian(const char *bytes) {
    std::uint32_t bits = 0;
    for (int i = 3; i >= 0; --i) bits = bits << 8 | static_cast<std::uint8_t>(bytes[i]);
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

} // namespace

Match Gallery::nearest(const std::vector<float> &query) const {
#ifdef WITH_FAISS
    if (index) {
        faiss::Index::idx_t item = -1;
        float similarity = 0;
        index->search(1, query.data(), 1, &similarity, &item);
        return {static_cast<int>(item), similarity};
    }
#endif
    Match best{-1, 0};
    for (std::size_t item = 0; item < labels.size(); ++item) {
        float similarity = 0;
        for (int i = 0; i < dim; ++i) similarity += query[i] * rows[item * dim + i];
        if (best.item < 0 || similarity > best.similarity) best = {static_cast<int>(item), similarity};
    }
    return best;
}

Gallery read_gallery(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("it can't be opened");
    std::map<std::string, std::string> header; // name, blank, value; an empty line ends it
    std::string line;
    while (std::getline(file, line) && !line.empty()) {
        if (header.empty() && line != "shitu-flat 1") throw std::runtime_error("it is no flat export of a gallery, layout 1");
        const std::size_t blank = line.find(' ');
        if (blank == std::string::npos) throw std::runtime_error("its header is broken");
        header[line.substr(0, blank)] = line.substr(blank + 1);
    }
    Gallery gallery;
    gallery.embedder = header["embedder"];
    gallery.dim = static_cast<int>(whole(header, "dim", most_dim));
    const long items = whole(header, "items", most_items);
    std::vector<char> row(static_cast<std::size_t>(gallery.dim) * sizeof(float));
    for (long item = 0; item < items; ++item) {
        if (!file.read(row.data(), static_cast<std::streamsize>(row.size()))) throw std::runtime_error("it ends within its embeddings");
        for (int i = 0; i < gallery.dim; ++i) gallery.rows.push_back(little_endian(&row[i * sizeof(float)]));
    }
    for (long item = 0; item < items; ++item) {
        if (!std::getline(file, line) || file.eof()) throw std::runtime_error("it ends within its labels");
        gallery.labels.push_back(line);
    }
    if (file.peek() != std::ifstream::traits_type::eof()) throw std::runtime_error("more follows its labels");
#ifdef WITH_FAISS
    if (items > 0 && gallery.dim > 0) {
        gallery.index = std::make_shared<faiss::IndexFlatIP>(gallery.dim);
        gallery.index->add(items, gallery.rows.data());
    }
#endif
    return gallery;
}
