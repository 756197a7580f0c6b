#include "config/nearest.hpp"

#include <algorithm>
#include <numeric>

namespace breakwater::config {

namespace {

// Edits (insert, delete, replace, swap of neighbours) between two short words.
std::size_t distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
    std::iota(above.begin(), above.end(), 0);
    for (std::size_t i = 1; i <= a.size(); ++i) {
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1])});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = std::min(row[j], before[j - 2] + 1);
        }
        std::swap(before, above);
        std::swap(above, row);
    }
    return above[b.size()];
}

std::string plain(std::string_view word) {  // max-size and maxSize both mean max_size
    std::string result;
    for (char c : word)
        if (c != '_' && c != '-') result += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    return result;
}

}  // namespace

std::string did_you_mean(std::string_view word, const std::vector<std::string_view>& known) {
    if (word.size() > 64) return "";
    const std::string wanted = plain(word);
    std::string_view best;
    std::size_t least = std::max<std::size_t>(wanted.size() / 3, 1) + 1;
    for (const auto candidate : known) {
        auto edits = distance(wanted, plain(candidate));
        // `password` for password_file, `timeout` for idle_timeout: a whole word is as good as one slip.
        if (edits > 1 && word.size() >= 4 && candidate.find(word) != std::string_view::npos) edits = 1;
        if (edits < least) {
            least = edits;
            best = candidate;
        }
    }
    return best.empty() ? "" : " (did you mean `" + std::string(best) + "`?)";
}

}  // namespace breakwater::config
