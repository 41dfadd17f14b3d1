// Word lists of training/generator.py, which the bundled model was trained on.
#pragma once

#include <array>
#include <string_view>

namespace thinkey::eval::words {

inline constexpr std::array<std::string_view, 74> kPlaces = {
    "Lisbon",  "Oslo",   "Cairo",   "Lima",    "Quito",    "Dublin",   "Prague", "Vienna", "Warsaw",
    "Athens",  "Madrid", "Berlin",  "Rome",    "Paris",    "London",   "Tokyo",  "Seoul",  "Delhi",
    "Hanoi",   "Manila", "Jakarta", "Perth",   "Sydney",   "Boston",   "Denver", "Dallas", "Austin",
    "Chicago", "Havana", "Bogota",  "Caracas", "Santiago", "Nairobi",  "Lagos",  "Accra",  "Tunis",
    "Rabat",   "Dakar",  "Riga",    "Tallinn", "Vilnius",  "Helsinki", "Geneva", "Zurich", "Milan",
    "Naples",  "Venice", "Turin",   "Porto",   "Seville",  "Bruges",   "Ghent",  "Leiden", "Utrecht",
    "Bergen",  "Malmo",  "Cork",    "Galway",  "York",     "Bath",     "Leeds",  "Oxford", "Cambridge",
    "Bristol", "Salem",  "Tampa",   "Omaha",   "Tulsa",    "Fresno",   "Reno",   "Boise",  "Toledo",
    "Mobile",  "Macon"};
inline constexpr std::array<std::string_view, 50> kNames = {
    "Alice",  "Bruno", "Clara",  "Dmitri", "Elena",  "Farid",  "Greta",   "Henry", "Irene",  "Jonas",
    "Karin",  "Lucas", "Marta",  "Nadia",  "Oscar",  "Petra",  "Quentin", "Rosa",  "Stefan", "Tamara",
    "Ulrich", "Vera",  "Walter", "Xenia",  "Yusuf",  "Zelda",  "Amir",    "Bella", "Carlos", "Diana",
    "Edgar",  "Fiona", "George", "Hilda",  "Ivan",   "Judith", "Kevin",   "Laura", "Martin", "Nora",
    "Olga",   "Paul",  "Ruth",   "Simon",  "Teresa", "Victor", "Wendy",   "Anton", "Birgit", "Cecil"};
inline constexpr std::array<std::string_view, 32> kColours = {
    "red",     "blue",   "green",   "amber", "silver", "golden", "violet", "crimson",
    "copper",  "ivory",  "scarlet", "grey",  "purple", "orange", "white",  "black",
    "pale",    "dark",   "bright",  "quiet", "hollow", "frozen", "hidden", "broken",
    "distant", "gentle", "iron",    "stone", "wooden", "glass",  "velvet", "misty"};
inline constexpr std::array<std::string_view, 59> kCreatures = {
    "falcon",  "otter",   "badger",  "heron",  "salmon",   "beetle",  "raven",  "fox",    "wolf",    "lynx",
    "sparrow", "turtle",  "dolphin", "owl",    "hare",     "stag",    "crane",  "pigeon", "lizard",  "spider",
    "hornet",  "panther", "tiger",   "eagle",  "walrus",   "beaver",  "magpie", "robin",  "cobra",   "moth",
    "lantern", "anchor",  "harbour", "river",  "mountain", "meadow",  "forest", "canyon", "glacier", "island",
    "valley",  "bridge",  "tower",   "castle", "garden",   "orchard", "mill",   "ladder", "compass", "hammer",
    "kettle",  "mirror",  "needle",  "violin", "trumpet",  "candle",  "basket", "wagon",  "engine"};
inline constexpr std::array<std::string_view, 34> kSyllables = {
    "ba",  "ke",  "li",  "mo",  "nu",  "ra",   "se",  "ti",   "vo",   "zu",  "dar", "fen",
    "gol", "hin", "jor", "kal", "lum", "mar",  "nor", "pel",  "quin", "ros", "sal", "tor",
    "ul",  "ven", "wex", "yar", "zim", "bren", "cro", "dral", "flin", "grom"};
inline constexpr std::array<std::string_view, 30> kPeople = {
    "farmer",    "teacher",  "baker",      "sailor",    "doctor",    "painter",   "clerk",    "miller",
    "librarian", "gardener", "captain",    "carpenter", "traveller", "merchant",  "widow",    "student",
    "engineer",  "nurse",    "fisherman",  "shepherd",  "postman",   "lawyer",    "musician", "neighbour",
    "stranger",  "cook",     "watchmaker", "inspector", "governor",  "apprentice"};
inline constexpr std::array<std::string_view, 36> kAdjectives = {
    "old",     "young",    "tired",    "cheerful", "careful", "narrow",   "heavy",  "small",     "large",
    "strange", "familiar", "ordinary", "dusty",    "warm",    "cold",     "wet",    "dry",       "empty",
    "crowded", "simple",   "curious",  "patient",  "nervous", "honest",   "clever", "slow",      "sudden",
    "late",    "early",    "broad",    "steep",    "polite",  "stubborn", "famous", "forgotten", "plain"};
inline constexpr std::array<std::string_view, 40> kThings = {
    "letter",   "table",    "chair", "window",   "door",      "map",     "coat",    "lamp",
    "book",     "ledger",   "boat",  "cart",     "barrel",    "rope",    "box",     "parcel",
    "painting", "clock",    "bench", "stove",    "bottle",    "bucket",  "drum",    "flute",
    "hat",      "key",      "knife", "notebook", "pipe",      "plate",   "sack",    "saddle",
    "shovel",   "umbrella", "wheel", "coin",     "newspaper", "blanket", "picture", "ticket"};
inline constexpr std::array<std::string_view, 35> kSites = {
    "market", "station",  "church", "school", "kitchen", "cellar",   "library",     "square",   "courtyard",
    "barn",   "workshop", "inn",    "museum", "theatre", "hospital", "farm",        "village",  "town",
    "road",   "path",     "hill",   "field",  "shore",   "pier",     "lake",        "well",     "gate",
    "wall",   "street",   "corner", "attic",  "chapel",  "bakery",   "post office", "town hall"};
inline constexpr std::array<std::string_view, 28> kVerbs = {
    "found",     "carried",  "repaired", "sold",      "bought",   "painted",    "watched",
    "borrowed",  "lost",     "dropped",  "described", "measured", "hid",        "cleaned",
    "opened",    "closed",   "moved",    "noticed",   "ignored",  "remembered", "examined",
    "delivered", "returned", "wrapped",  "collected", "counted",  "kept",       "replaced"};
inline constexpr std::array<std::string_view, 20> kTimes = {"in the morning",
                                                            "after lunch",
                                                            "before dawn",
                                                            "late at night",
                                                            "on Sunday",
                                                            "last winter",
                                                            "in early spring",
                                                            "during the storm",
                                                            "after the harvest",
                                                            "at noon",
                                                            "the next day",
                                                            "a week later",
                                                            "every evening",
                                                            "once a year",
                                                            "for the first time",
                                                            "without a word",
                                                            "when the rain stopped",
                                                            "as the sun went down",
                                                            "on the way home",
                                                            "in the summer"};
inline constexpr std::array<std::string_view, 10> kWeather = {
    "rain", "snow", "fog", "wind", "hail", "frost", "sunshine", "thunder", "drizzle", "heat"};

// {p}erson {q} another, {a}djective {b}, {t}hing {u}, {s}ite {r}, {v}erb {w}, {m}oment, {n}umber, {y}ear,
// {c}ity, {x} name, {h} weather, {k} a name like a key.
inline constexpr std::array<std::string_view, 36> kTemplates = {
    "The {a} {p} {v} a {b} {t} {m}.",
    "{m}, the {p} {v} the {t} near the {s}.",
    "{x} {v} the {a} {t} and walked to the {s}.",
    "There was a {a} {t} beside the {s}.",
    "Nobody in the {s} had seen the {p} since the {h} began.",
    "The {p} told {x} that the {t} was {a}.",
    "The road from {c} to the {s} was {a} and {b}.",
    "It took {n} days to travel from the {s} to {c}.",
    "The {s} was built in {y} by a {a} {p}.",
    "{x} paid {n} coins for a {t} and a {a} {u}.",
    "The {h} kept the {p} away from the {s} {m}.",
    "Every {p} knew the {a} {s} behind the {r}.",
    "A {p} from {c} {v} the {t}, but the {q} {w} the {u}.",
    "{x} and the {p} sat in the {s} {m}.",
    "The {t} was too {a} for the {p}, so {x} {v} it.",
    "In {y} the {s} still had a {a} {t}.",
    "They spoke about the {h} and the price of a {t}.",
    "The {p} {v} {n} letters from {c} {m}.",
    "{x} wrote a {a} letter to the {p} in {c}.",
    "The {s} smelled of {h} and of the {a} {t}.",
    "When the {p} arrived, the {t} was already in the {s}.",
    "The {a} {p} asked {x} about the {b} {t}.",
    "Some say the {p} never {v} the {t} at all.",
    "The {s} in {c} is {a}, but the {r} is {b}.",
    "The {p} could not decide whether the {t} was {a} or {b}.",
    "After the {h}, {x} {v} the {t} again.",
    "The train to {c} left {m} with {n} passengers.",
    "{x} kept a {t} under the {u} in the {s}.",
    "The {p} counted {n} sheep on the {a} hill.",
    "Old {x} used to say that a {a} {t} is better than a {b} {u}.",
    "The letter from {c} was about the {t} in the {s}.",
    "House number {n} stood between the {s} and the {r}.",
    "{x} never went to {c} again.",
    "The {k} was painted on the door of the {s}.",
    "A {k} is a strange name for a {s}.",
    "The archive of the {s} holds {n} pages about {c}."};

}  // namespace thinkey::eval::words
