// Pictures as rows of RGB bytes: read from JPEG or PPM, cut, resized.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

struct Picture {
    int width = 0, height = 0;
    std::vector<std::uint8_t> rgb; // height * width * 3
};

// x1, y1, x2, y2 in whole pixels, x2 and y2 exclusive.
struct Box {
    int x1, y1, x2, y2;
};

// JPEG (upright as its EXIF says) or binary PPM of 8 bits. Throws std::runtime_error.
Picture read_picture(const std::string &path);

Picture crop(const Picture &picture, const Box &box);

// Without keeping the ratio; "linear", "cubic" or "area" as OpenCV's cv::resize has them, within one level of 255.
Picture resize(const Picture &picture, int width, int height, const std::string &interpolation);
