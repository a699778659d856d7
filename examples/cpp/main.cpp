// Photo in, labels out, as PP-ShiTu has it (`shitu recognize --format paddleclas` gives the same): the objects that the
// detector finds and the whole photo are embedded, the nearest item of the gallery names each, and of answers that overlap
// the most similar one stays.
//
// A line for each answer: photo, x1,y1,x2,y2, similarity, label, with tabs between them. Exit status 1 where a photo can't
// be read or something fails, 2 for a wrong command line.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "gallery.hpp"
#include "models.hpp"
#include "picture.hpp"

namespace {

constexpr int most_detections = 5;
constexpr float answers_iou = 0.05F, both_corners = 1; // rec_nms_thresold, and how PaddleClas counts overlaps

struct Answer {
    Box box;
    float similarity;
    const std::string *label;
};

struct Options {
    std::string detector, embedder, gallery;
    int threads = 1;
    std::vector<std::string> photos;
};

FloatBox as_float(const Box &box) {
    return {static_cast<float>(box.x1), static_cast<float>(box.y1), static_cast<float>(box.x2), static_cast<float>(box.y2)};
}

std::vector<Answer> recognize(const Picture &photo, Detector *detector, Embedder &embedder, const Gallery &gallery) {
    std::vector<Box> boxes;
    if (detector != nullptr)
        for (const Detection &one : detector->detect(photo, most_detections)) boxes.push_back(one.box);
    boxes.push_back({0, 0, photo.width, photo.height});
    std::vector<Answer> found;
    for (const Box &box : boxes) {
        const Match match = gallery.nearest(embedder.embed(crop(photo, box)));
        if (match.item >= 0 && match.similarity >= embedder.threshold()) found.push_back({box, match.similarity, &gallery.labels[match.item]});
    }
    std::stable_sort(found.begin(), found.end(), [](const Answer &a, const Answer &b) { return a.similarity > b.similarity; });
    std::vector<Answer> kept;
    for (const Answer &one : found) {
        const bool hidden = std::any_of(kept.begin(), kept.end(), [&](const Answer &better) {
            return overlap(as_float(better.box), as_float(one.box), both_corners) > answers_iou;
        });
        if (!hidden) kept.push_back(one);
    }
    return kept;
}

// Throws std::invalid_argument.
Options options_of(const std::vector<std::string> &words) {
    Options options;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const std::string &word = words[i];
        if (word.rfind("--", 0) != 0) {
            options.photos.push_back(word);
            continue;
        }
        if (i + 1 == words.size()) throw std::invalid_argument(word + " wants a value");
        const std::string &value = words[++i];
        if (word == "--detector") options.detector = value;
        else if (word == "--embedder") options.embedder = value;
        else if (word == "--gallery") options.gallery = value;
        else if (word == "--threads") options.threads = std::stoi(value);
        else throw std::invalid_argument("there is no option " + word);
    }
    if (options.embedder.empty() || options.gallery.empty() || options.photos.empty() || options.threads < 1)
        throw std::invalid_argument("--embedder, --gallery and a photo are needed");
    return options;
}

int run(const Options &options) {
    Gallery gallery;
    try {
        gallery = read_gallery(options.gallery);
    } catch (const std::exception &error) {
        throw std::runtime_error(options.gallery + ": " + error.what());
    }
    ov::Core core;
    Embedder embedder(core, options.embedder, options.threads);
    std::unique_ptr<Detector> detector;
    if (!options.detector.empty()) detector = std::make_unique<Detector>(core, options.detector, options.threads);
    if (!gallery.labels.empty() && gallery.dim != embedder.dim())
        throw std::runtime_error("the gallery has embeddings of " + std::to_string(gallery.dim) + " dimensions, the embedder gives " + std::to_string(embedder.dim()));
    if (!gallery.labels.empty() && gallery.embedder != embedder.digest())
        throw std::runtime_error("the gallery is of another embedder, " + gallery.embedder + "; this is " + embedder.digest());
    int status = 0;
    for (const std::string &path : options.photos) {
        try {
            const Picture photo = read_picture(path);
            for (const Answer &one : recognize(photo, detector.get(), embedder, gallery))
                std::printf("%s\t%d,%d,%d,%d\t%.6f\t%s\n", path.c_str(), one.box.x1, one.box.y1, one.box.x2, one.box.y2, static_cast<double>(one.similarity), one.label->c_str());
        } catch (const std::exception &error) {
            std::cerr << path << ": " << error.what() << '\n';
            status = 1;
        }
    }
    return status;
}

} // namespace

int main(int count, char **words) {
    try {
        return run(options_of({words + 1, words + count}));
    } catch (const std::invalid_argument &error) {
        std::cerr << "recognize: " << error.what() << "\nrecognize [--detector FOLDER] --embedder FOLDER --gallery FILE [--threads N] PHOTO...\n";
        return 2;
    } catch (const std::exception &error) {
        std::cerr << "recognize: " << error.what() << '\n';
        return 1;
    }
}
