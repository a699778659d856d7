// A gallery exported by `shitu gallery export NAME --format flat`: its embeddings are searched one by one.
#pragma once

#include <string>
#include <vector>

struct Match {
    int item;
    float similarity;
};

struct Gallery {
    std::string embedder; // its digest; "-" of a gallery that never had an item
    int dim = 0;
    std::vector<float> rows; // items * dim, each of length 1
    std::vector<std::string> labels; // UTF-8

    // The nearest item by inner product, the first of equal ones; item -1 of an empty gallery.
    // With Faiss this is faiss::IndexFlatIP(dim): add(labels.size(), rows.data()), search(1, query, 1, ...).
    Match nearest(const std::vector<float> &query) const;
};

// Throws std::runtime_error for what is no such file, or not whole.
Gallery read_gallery(const std::string &path);
