#include "picture.hpp"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

#ifdef WITH_JPEG
#include <csetjmp>
#include <cstdio>
#include <jpeglib.h>
#endif

namespace {

using Bytes = std::vector<std::uint8_t>;
constexpr long most_pixels = 100'000'000;

void require_size(long width, long height) {
    if (width < 1 || height < 1 || width > most_pixels / height) throw std::runtime_error("its size is not usable");
}

// "P6", width, height, 255, one blank, rows. (netpbm, ppm(5))
Picture read_ppm(const Bytes &data) {
    std::size_t at = 2;
    long sizes[3];
    for (long &size : sizes) {
        while (at < data.size() && (std::isspace(data[at]) || data[at] == '#')) {
            if (data[at] == '#')
                while (at < data.size() && data[at] != '\n') ++at;
            else
                ++at;
        }
        size = 0;
        while (at < data.size() && std::isdigit(data[at]) && size < most_pixels) size = 10 * size + (data[at++] - '0');
    }
    ++at;
    require_size(sizes[0], sizes[1]);
    if (sizes[2] != 255) throw std::runtime_error("a PPM must have 8 bits a colour");
    Picture picture{static_cast<int>(sizes[0]), static_cast<int>(sizes[1]), {}};
    const std::size_t bytes = static_cast<std::size_t>(picture.width) * picture.height * 3;
    if (at > data.size() || data.size() - at < bytes) throw std::runtime_error("it ends too early");
    picture.rgb.assign(data.begin() + static_cast<std::ptrdiff_t>(at), data.begin() + static_cast<std::ptrdiff_t>(at + bytes));
    return picture;
}

#ifdef WITH_JPEG

struct Failure {
    jpeg_error_mgr manager;
    std::jmp_buf back;
};

void on_error(j_common_ptr info) { std::longjmp(reinterpret_cast<Failure *>(info->err)->back, 1); }

void silent(j_common_ptr) {}

// The tag 0x0112 of the first directory of EXIF's TIFF; 1, upright, where there is none. (CIPA DC-008)
int orientation_of(const std::uint8_t *data, std::size_t size) {
    if (size < 14 || std::memcmp(data, "Exif\0\0", 6) != 0) return 1;
    const std::uint8_t *tiff = data + 6;
    const std::size_t length = size - 6;
    const bool little = tiff[0] == 'I';
    const auto read = [&](std::size_t at, int bytes) {
        std::uint32_t value = 0;
        for (int i = 0; i < bytes && at + bytes <= length; ++i)
            value |= static_cast<std::uint32_t>(tiff[at + i]) << (8 * (little ? i : bytes - 1 - i));
        return value;
    };
    const std::size_t directory = read(4, 4);
    const std::uint32_t entries = read(directory, 2);
    for (std::size_t i = 0; i < entries; ++i) {
        const std::size_t entry = directory + 2 + 12 * i;
        if (entry + 12 > length) break;
        if (read(entry, 2) == 0x0112) {
            const int found = static_cast<int>(read(entry + 8, 2));
            return found >= 1 && found <= 8 ? found : 1;
        }
    }
    return 1;
}

// Of orientations 5 to 8 rows and columns are swapped.
Picture upright(const Picture &picture, int orientation) {
    if (orientation == 1) return picture;
    const bool swapped = orientation >= 5;
    Picture turned{swapped ? picture.height : picture.width, swapped ? picture.width : picture.height, {}};
    turned.rgb.resize(picture.rgb.size());
    for (int y = 0; y < turned.height; ++y)
        for (int x = 0; x < turned.width; ++x) {
            int column = swapped ? y : x, row = swapped ? x : y;
            if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8) column = picture.width - 1 - column;
            if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7) row = picture.height - 1 - row;
            const std::size_t from = (static_cast<std::size_t>(row) * picture.width + column) * 3;
            std::memcpy(&turned.rgb[(static_cast<std::size_t>(y) * turned.width + x) * 3], &picture.rgb[from], 3);
        }
    return turned;
}

Picture read_jpeg(const Bytes &data) {
    Picture picture;
    jpeg_decompress_struct info{};
    Failure failure{};
    info.err = jpeg_std_error(&failure.manager);
    failure.manager.error_exit = on_error;
    failure.manager.output_message = silent;
    if (setjmp(failure.back)) {
        jpeg_destroy_decompress(&info);
        throw std::runtime_error("its JPEG can't be decoded");
    }
    jpeg_create_decompress(&info);
    jpeg_mem_src(&info, data.data(), data.size());
    jpeg_save_markers(&info, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(&info, TRUE);
    info.out_color_space = JCS_RGB; // of CMYK libjpeg says that it can't
    jpeg_start_decompress(&info);
    if (static_cast<long>(info.output_width) > most_pixels / static_cast<long>(info.output_height)) on_error(reinterpret_cast<j_common_ptr>(&info));
    picture.width = static_cast<int>(info.output_width);
    picture.height = static_cast<int>(info.output_height);
    picture.rgb.resize(static_cast<std::size_t>(picture.width) * picture.height * 3);
    while (info.output_scanline < info.output_height) {
        JSAMPROW row = &picture.rgb[static_cast<std::size_t>(info.output_scanline) * picture.width * 3];
        jpeg_read_scanlines(&info, &row, 1);
    }
    int orientation = 1;
    for (auto *marker = info.marker_list; marker != nullptr && orientation == 1; marker = marker->next)
        orientation = orientation_of(marker->data, marker->data_length);
    const bool whole = failure.manager.num_warnings == 0;
    jpeg_finish_decompress(&info);
    jpeg_destroy_decompress(&info);
    if (!whole) throw std::runtime_error("its JPEG is damaged or ends too early");
    return upright(picture, orientation);
}

#endif

} // namespace

Picture read_picture(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("it can't be opened");
    const Bytes data((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    if (data.size() > 2 && data[0] == 'P' && data[1] == '6') return read_ppm(data);
    if (data.size() > 2 && data[0] == 0xFF && data[1] == 0xD8) {
#ifdef WITH_JPEG
        return read_jpeg(data);
#else
        throw std::runtime_error("JPEG needs libjpeg, which was not found when this was built; PPM is read");
#endif
    }
    throw std::runtime_error("it is neither JPEG nor PPM (P6)");
}

Picture crop(const Picture &picture, const Box &box) {
    Picture part{box.x2 - box.x1, box.y2 - box.y1, {}};
    part.rgb.reserve(static_cast<std::size_t>(part.width) * part.height * 3);
    for (int y = box.y1; y < box.y2; ++y) {
        const auto row = picture.rgb.begin() + (static_cast<std::ptrdiff_t>(y) * picture.width + box.x1) * 3;
        part.rgb.insert(part.rgb.end(), row, row + static_cast<std::ptrdiff_t>(part.width) * 3);
    }
    return part;
}
