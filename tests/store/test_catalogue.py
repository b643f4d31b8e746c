"""The catalogue says what is known and nothing more."""

from tonewise.store.catalogue import catalogue, catalogued


def test_the_models_that_people_use_are_there() -> None:
    assert set(catalogue()) == {
        "bhadresh-savani/distilbert-base-uncased-emotion",
        "distilbert/distilbert-base-uncased-finetuned-sst-2-english",
        "lxyuan/distilbert-base-multilingual-cased-sentiments-student",
        "tabularisai/multilingual-sentiment-analysis",
        "sentence-transformers/all-MiniLM-L6-v2",
    }


def test_every_entry_states_licence_and_languages_and_every_figure_its_source() -> None:
    for entry in catalogue().values():
        assert entry.licence
        assert entry.languages
        assert len(set(entry.languages)) == len(entry.languages)
        for figure in entry.figures:
            assert figure.source
            assert 0 < figure.value < 1


def test_labels_are_in_the_order_of_the_models() -> None:
    emotion = catalogue()["bhadresh-savani/distilbert-base-uncased-emotion"]
    assert emotion.labels["label"] == ("sadness", "joy", "love", "anger", "fear", "surprise")
    student = catalogue()["lxyuan/distilbert-base-multilingual-cased-sentiments-student"]
    assert student.labels["label"] == ("positive", "neutral", "negative")
    assert len(student.languages) == 12
    assert catalogue()["sentence-transformers/all-MiniLM-L6-v2"].labels == {}


def test_a_name_from_before_owners_is_the_same_model() -> None:
    entry = catalogued("distilbert-base-uncased-finetuned-sst-2-english")
    assert entry is catalogue()["distilbert/distilbert-base-uncased-finetuned-sst-2-english"]
    assert catalogued("acme/mood") is None
