"""The topic of a search: top categories, and a frozen list of words that belong to them."""

import re

_SENSITIVE_FIRST = {
    "health": "doctor medicine pharmacy drug pill pills tablet vitamin vitamins symptom symptoms pain"
    " clinic hospital therapy therapist depression anxiety diabetes cancer allergy pregnancy hiv"
    " viagra antidepressant contraceptive contraception abortion disease illness treatment",
    "adult": "porn sex sexy erotic erotica dildo vibrator condom condoms fetish xxx escort lingerie",
    "religion": "bible quran koran torah church mosque synagogue rosary prayer hijab kippah buddhist"
    " christian muslim jewish hindu islam christianity judaism hinduism buddhism",
    "gambling": "casino poker bet bets betting roulette lottery lotto slots bookmaker",
    "baby": "nappy nappies diaper diapers pram stroller pacifier newborn infant cot crib babies",
}
_OTHERS = {
    "books": "book novel novels ebook paperback author",
    "music": "album vinyl guitar piano song songs",
    "film": "movie movies dvd films series",
    "games": "game console playstation xbox nintendo boardgame",
    "electronics": "headphones camera tv television speaker charger",
    "computers": "computer laptop notebook keyboard monitor printer ssd pc",
    "phones": "phone smartphone iphone android",
    "home": "furniture sofa lamp mattress bed kitchen curtain curtains",
    "garden": "plant plants seeds lawn lawnmower flowerpot",
    "diy": "drill hammer paint screws screwdriver saw",
    "clothing": "clothes shirt jacket dress trousers jeans coat socks",
    "shoes": "shoe boots trainers sneakers sandals",
    "jewellery": "ring necklace earrings bracelet watch jewelry",
    "beauty": "makeup lipstick perfume shampoo cosmetics",
    "food": "recipe grocery groceries bread cheese chocolate pizza",
    "drinks": "wine beer coffee tea whisky juice",
    "toys": "toy lego doll puzzle",
    "sports": "sport bicycle bike football tennis running yoga gym",
    "travel": "flight flights hotel hotels holiday holidays train",
    "tickets": "ticket concert theatre festival",
    "vehicles": "car cars motorcycle tyres van",
    "pets": "dog cat puppy kitten aquarium pet",
    "office": "stationery pen pens envelope paper",
    "services": "plumber cleaner insurance broadband",
    "other": "",
}
_ORDER = (*_OTHERS, *_SENSITIVE_FIRST)
TOPICS = {name: frozenset(f"{name} {({**_OTHERS, **_SENSITIVE_FIRST})[name]}".split()) for name in _ORDER}
"""Top category -> its words; each category is a word of its own."""

_BY_WORD = {word: name for name, words in TOPICS.items() for word in words}
_WORD = re.compile(r"[^\W_]+")


def topics(query: str) -> list[str]:
    """Return the topics that a search touches, the sensitive ones first, never an empty list.

    A search is judged by all of them, and shown as the first.
    """
    found = dict.fromkeys(_BY_WORD[word] for word in _WORD.findall(query.casefold()) if word in _BY_WORD)
    sensitive = [name for name in _SENSITIVE_FIRST if name in found]
    return sensitive + [name for name in found if name not in _SENSITIVE_FIRST] or ["other"]
