from streamheal.video.damage import MAX_DAMAGED, Damage


def spoilt(damage: Damage, packets: list[int], *, keys=(), corrupt=(), step: float = 0.04) -> list[int]:
    """Which of the frames, given by their packets' numbers in the order of presentation, are spoilt."""
    return [p for p in packets if damage.spoils(p, p * step, keyframe=p in keys, corrupt=p in corrupt)]


def test_nothing_is_spoilt_in_a_whole_stream():
    assert spoilt(Damage(), list(range(50)), keys=[0, 25]) == []


def test_a_corrupt_frame_spoils_those_after_it_up_to_the_next_keyframe():
    assert spoilt(Damage(), list(range(20)), keys=[0, 10], corrupt=[7]) == [7, 8, 9]


def test_a_damaged_packet_spoils_no_frame_that_was_decoded_before_it():
    damage = Damage()
    damage.at(5, 0.1)
    assert spoilt(damage, [3, 4, 6, 7], keys=[]) == [6, 7]


def test_a_keyframe_from_before_the_damage_does_not_end_it():
    damage = Damage()
    damage.at(11, 0.4)  # the decoder still holds keyframe 10 when packet 11 turns out to be damaged
    assert spoilt(damage, [10, 12, 13], keys=[10]) == [12, 13]


def test_a_keyframe_that_is_corrupt_itself_does_not_end_it():
    assert spoilt(Damage(), list(range(10)), keys=[0, 4, 8], corrupt=[2, 4]) == [2, 3, 4, 5, 6, 7]


def test_a_keyframe_whose_own_packet_was_damaged_does_not_end_it():
    damage = Damage()
    damage.at(5, 0.2)
    assert spoilt(damage, [5, 6, 7], keys=[5]) == [5, 6, 7]


def test_without_keyframes_it_ends_after_a_while():
    last = int(MAX_DAMAGED / 0.04) + 1
    assert spoilt(Damage(), list(range(last + 10)), corrupt=[0]) == list(range(last))
