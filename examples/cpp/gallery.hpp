// A gallery exported by `shitu gallery export NAME --format flat`: its embeddings are searched by Faiss where the program was
// built with it, else one by one.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace faiss {
struct Index;
}

struct Match {
    int item;
    float similarity;
};

struct Gallery {
    std::string embedder; // its digest; "-" of a gallery that never had an item
    int dim = 0;
    std::vector<float> rows; // items * dim, each of length 1
    std::vector<std::string> labels; // UTF-8

    std::shared_ptr<faiss::Index> index; // a copy of the rows; none without Faiss, and in an empty gallery

    // The nearest item by inner product, the first of equal ones; item -1 of an empty gallery.
    Match nearest(const std::vector<float> &query) const;
};

// Throws std::runtime_error for what is no such file, or not whole.
Gallery read_gallery(const std::string &path);
