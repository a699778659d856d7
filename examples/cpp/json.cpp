#include "json.hpp"

#include <cctype>
#include <cstdlib>

namespace {

constexpr int deepest = 64;

class Parser {
public:
    explicit Parser(const std::string &text) : text_(text) {}

    Json whole() {
        Json found = value(0);
        skip();
        if (at_ != text_.size()) fail();
        return found;
    }

private:
    [[noreturn]] void fail() const { throw std::runtime_error("no JSON at byte " + std::to_string(at_)); }

    void skip() {
        while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
    }

    char next() {
        skip();
        if (at_ == text_.size()) fail();
        return text_[at_];
    }

    void expect(char wanted) {
        if (next() != wanted) fail();
        ++at_;
    }

    bool word(const std::string &wanted) {
        if (text_.compare(at_, wanted.size(), wanted) != 0) return false;
        at_ += wanted.size();
        return true;
    }

    Json value(int depth) {
        if (depth > deepest) fail();
        Json found;
        switch (next()) {
        case '{':
            found.kind = Json::Kind::object;
            ++at_;
            while (next() != '}') {
                if (!found.object.empty()) expect(',');
                next();
                const std::string name = text();
                expect(':');
                found.object[name] = value(depth + 1);
            }
            ++at_;
            return found;
        case '[':
            found.kind = Json::Kind::array;
            ++at_;
            while (next() != ']') {
                if (!found.array.empty()) expect(',');
                found.array.push_back(value(depth + 1));
            }
            ++at_;
            return found;
        case '"':
            found.kind = Json::Kind::string;
            found.string = text();
            return found;
        default:
            break;
        }
        if (word("null")) return found;
        found.kind = Json::Kind::boolean;
        if (word("true")) {
            found.number = 1;
            return found;
        }
        if (word("false")) return found;
        found.kind = Json::Kind::number;
        char *end = nullptr;
        found.number = std::strtod(text_.c_str() + at_, &end);
        const std::size_t after = static_cast<std::size_t>(end - text_.c_str());
        if (after == at_) fail();
        at_ = after;
        return found;
    }

    std::string text() {
        expect('"');
        std::string found;
        while (at_ < text_.size() && text_[at_] != '"') {
            char one = text_[at_++];
            if (one == '\\') {
                if (at_ == text_.size()) fail();
                one = text_[at_++];
                switch (one) {
                case 'n': one = '\n'; break;
                case 't': one = '\t'; break;
                case 'r': one = '\r'; break;
                case 'b': one = '\b'; break;
                case 'f': one = '\f'; break;
                case 'u': append(found, four()); continue;
                default: break;
                }
            }
            found.push_back(one);
        }
        expect('"');
        return found;
    }

    unsigned four() {
        if (at_ + 4 > text_.size()) fail();
        const unsigned found = static_cast<unsigned>(std::strtoul(text_.substr(at_, 4).c_str(), nullptr, 16));
        at_ += 4;
        return found;
    }

    // As UTF-8; of a surrogate pair both halves.
    void append(std::string &to, unsigned point) {
        if (point >= 0xD800 && point < 0xDC00 && word("\\u")) point = 0x10000 + ((point - 0xD800) << 10) + (four() - 0xDC00);
        if (point < 0x80) {
            to.push_back(static_cast<char>(point));
            return;
        }
        if (point >= 0x10000) {
            to.push_back(static_cast<char>(0xF0 | (point >> 18)));
            to.push_back(static_cast<char>(0x80 | ((point >> 12) & 0x3F)));
        } else if (point >= 0x800) {
            to.push_back(static_cast<char>(0xE0 | (point >> 12)));
        } else {
            to.push_back(static_cast<char>(0xC0 | (point >> 6)));
        }
        if (point >= 0x800) to.push_back(static_cast<char>(0x80 | ((point >> 6) & 0x3F)));
        to.push_back(static_cast<char>(0x80 | (point & 0x3F)));
    }

    const std::string &text_;
    std::size_t at_ = 0;
};

} // namespace

const Json &Json::at(const std::string &name) const {
    const auto found = object.find(name);
    if (found == object.end()) throw std::runtime_error("it has no " + name);
    return found->second;
}

double Json::number_or(const std::string &name, double otherwise) const {
    const auto found = object.find(name);
    return found == object.end() || found->second.kind != Kind::number ? otherwise : found->second.number;
}

Json parse_json(const std::string &text) { return Parser(text).whole(); }
