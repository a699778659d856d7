// Resizing by a table of weights for each axis. The tables are those of cv::resize, which the networks were trained with.
#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "picture.hpp"

namespace {

struct Tap {
    int from;
    float weight;
};
using Taps = std::vector<std::vector<Tap>>; // for each place of the result

constexpr float cubic_a = -0.75F;

// Each place of the result is the mean of the cells that it covers; for shrinking.
Taps area_taps(int from, int to) {
    const double scale = static_cast<double>(from) / to;
    Taps taps(static_cast<std::size_t>(to));
    for (int at = 0; at < to; ++at) {
        const double first = at * scale, last = std::min(first + scale, static_cast<double>(from));
        for (int cell = static_cast<int>(first); cell < from && cell < last; ++cell) {
            const double covered = std::min(cell + 1.0, last) - std::max(static_cast<double>(cell), first);
            if (covered > 1e-6) taps[at].push_back({cell, static_cast<float>(covered / (last - first))});
        }
    }
    return taps;
}

// `enlarging` by "area": OpenCV takes two neighbours then, of which the first counts as far as its cell reaches.
Taps linear_taps(int from, int to, bool enlarging_area) {
    const double scale = static_cast<double>(from) / to;
    Taps taps(static_cast<std::size_t>(to));
    for (int at = 0; at < to; ++at) {
        int cell;
        float second;
        if (enlarging_area) {
            cell = static_cast<int>(std::floor(at * scale));
            second = static_cast<float>((at + 1) - (cell + 1) / scale);
            second = second <= 0 ? 0 : second - std::floor(second);
        } else {
            const float place = static_cast<float>((at + 0.5) * scale - 0.5);
            cell = static_cast<int>(std::floor(place));
            second = place - static_cast<float>(cell);
        }
        const int next = std::clamp(cell + 1, 0, from - 1);
        taps[at] = {{std::clamp(cell, 0, from - 1), 1 - second}, {next, second}};
    }
    return taps;
}

Taps cubic_taps(int from, int to) {
    const double scale = static_cast<double>(from) / to;
    Taps taps(static_cast<std::size_t>(to));
    for (int at = 0; at < to; ++at) {
        const float place = static_cast<float>((at + 0.5) * scale - 0.5);
        const int cell = static_cast<int>(std::floor(place));
        const float x = place - static_cast<float>(cell);
        float weights[4];
        weights[0] = ((cubic_a * (x + 1) - 5 * cubic_a) * (x + 1) + 8 * cubic_a) * (x + 1) - 4 * cubic_a;
        weights[1] = ((cubic_a + 2) * x - (cubic_a + 3)) * x * x + 1;
        weights[2] = ((cubic_a + 2) * (1 - x) - (cubic_a + 3)) * (1 - x) * (1 - x) + 1;
        weights[3] = 1 - weights[0] - weights[1] - weights[2];
        for (int i = 0; i < 4; ++i) taps[at].push_back({std::clamp(cell - 1 + i, 0, from - 1), weights[i]});
    }
    return taps;
}

Taps taps_of(int from, int to, const std::string &interpolation, bool shrinks) {
    if (interpolation == "cubic") return cubic_taps(from, to);
    if (interpolation == "area") return shrinks ? area_taps(from, to) : linear_taps(from, to, true);
    if (interpolation == "linear") return linear_taps(from, to, false);
    throw std::runtime_error("there is no interpolation " + interpolation);
}

} // namespace

Picture resize(const Picture &picture, int width, int height, const std::string &interpolation) {
    if (picture.width == width && picture.height == height) return picture;
    const bool shrinks = picture.width >= width && picture.height >= height;
    const Taps across = taps_of(picture.width, width, interpolation, shrinks);
    const Taps down = taps_of(picture.height, height, interpolation, shrinks);
    std::vector<float> rows(static_cast<std::size_t>(picture.height) * width * 3); // resized across only
    for (int y = 0; y < picture.height; ++y)
        for (int x = 0; x < width; ++x)
            for (int c = 0; c < 3; ++c) {
                float sum = 0;
                for (const Tap &tap : across[x]) sum += tap.weight * picture.rgb[(static_cast<std::size_t>(y) * picture.width + tap.from) * 3 + c];
                rows[(static_cast<std::size_t>(y) * width + x) * 3 + c] = sum;
            }
    Picture resized{width, height, std::vector<std::uint8_t>(static_cast<std::size_t>(width) * height * 3)};
    const std::size_t row_size = static_cast<std::size_t>(width) * 3;
    for (int y = 0; y < height; ++y)
        for (std::size_t x = 0; x < row_size; ++x) {
            float sum = 0;
            for (const Tap &tap : down[y]) sum += tap.weight * rows[tap.from * row_size + x];
            resized.rgb[y * row_size + x] = static_cast<std::uint8_t>(std::clamp(std::lrint(sum), 0L, 255L));
        }
    return resized;
}
