"""Volume 2, chapter 2: words as vectors, made by counting which words stand beside them.

See: "goodbye" and "hello" never stand beside each other, but both beside "say": so they are alike. In the
picture words that stand beside the same words lie in one direction. Counts make frequent words like
everything; PPMI asks instead how much more often than by chance two words meet, and the SVD keeps two
numbers of each row.
"""

from pathlib import Path

from lampion.text import cooccurrence_matrix, cosine_similarity, most_similar, ppmi, preprocess, truncated_svd
from lampion.viz import canvas

TEXT = "You say goodbye and I say hello."


def main(out: str = "runs/examples", window: int = 1) -> dict[str, object]:
    corpus, word_to_id, id_to_word = preprocess(TEXT)
    counts = cooccurrence_matrix(corpus, window=window)
    you, i = (counts[word_to_id[word]] for word in ("you", "i"))
    print(f"you and i, by their counts: {cosine_similarity(you, i):.4f}")
    table = ppmi(counts)
    vectors, _, _ = truncated_svd(table, 2)
    for word, vector in zip(word_to_id, vectors.tolist(), strict=True):
        print(f"{word:8} {vector[0]:6.2f} {vector[1]:6.2f}")

    with canvas.style():
        picture = canvas.figure(5, 4)
        axes = picture.subplots()
        places: dict[tuple[float, float], list[str]] = {}
        for number, (x, y) in enumerate(vectors.tolist()):
            places.setdefault((round(x, 2), round(y, 2)), []).append(id_to_word[number])
        for (x, y), words in places.items():
            axes.plot(x, y, "o", color=canvas.BLUE)
            below = -14 if words == ["say"] else 4  # its neighbour in the picture is close
            axes.annotate(", ".join(words), (x, y), xytext=(6, below), textcoords="offset points")
        axes.margins(0.2)
        axes.set_title("PPMI, two dimensions of its SVD")
        Path(out).mkdir(parents=True, exist_ok=True)
        canvas.save(picture, Path(out) / "words_by_counting.png")
    return {
        "counts": counts, "ppmi": table, "words": list(word_to_id),
        "like hello": most_similar("hello", word_to_id, table, top=2),
    }  # fmt: skip


if __name__ == "__main__":
    main()
