"""What has been made is known also after a crash between any two lines."""

from __future__ import annotations

from pathlib import Path

from lab.journal import Entry, Journal


def test_what_was_made_and_not_removed_remains(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    for entry in (
        Entry("netns", "a"),
        Entry("netns", "a", 11),
        Entry("netns", "b"),
        Entry("netns", "b", 12),
        Entry("netns", "a", gone=True),
        Entry("netns", "c"),
    ):
        journal.write(entry)
    assert journal.remaining() == {
        ("netns", "b"): Entry("netns", "b", 12),
        ("netns", "c"): Entry("netns", "c"),  # announced; perhaps made, perhaps not
    }


def test_a_line_cut_short_by_a_crash_is_skipped(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.write(Entry("netns", "a", 11))
    with journal.path.open("a") as file:
        file.write('{"kind": "netns", "na')
    assert list(journal.entries()) == [Entry("netns", "a", 11)]


def test_a_journal_that_was_never_written_is_empty(tmp_path: Path) -> None:
    assert Journal(tmp_path / "none").remaining() == {}


def test_compacting_keeps_what_remains(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    for index in range(50):
        journal.write(Entry("netns", f"pod-{index}", index))
        if index % 10:
            journal.write(Entry("netns", f"pod-{index}", gone=True))
    before = journal.remaining()
    journal.compact()
    assert journal.remaining() == before
    assert len(journal.path.read_text().splitlines()) == 5
