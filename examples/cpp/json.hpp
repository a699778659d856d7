// Reads the JSON of a manifest: objects, arrays, strings, numbers, true, false, null (RFC 8259).
#pragma once

#include <map>
#include <stdexcept>
#include <string>
#include <vector>

struct Json {
    enum class Kind { null, boolean, number, string, array, object };

    Kind kind = Kind::null;
    double number = 0; // of a boolean 0 or 1
    std::string string;
    std::vector<Json> array;
    std::map<std::string, Json> object;

    // The member of that name; throws std::runtime_error where there is none.
    const Json &at(const std::string &name) const;
    // The number of a member, or `otherwise` where there is none.
    double number_or(const std::string &name, double otherwise) const;
};

// Throws std::runtime_error for text that is no JSON.
Json parse_json(const std::string &text);
