"""Which months are kept: whole months go, once their last day is older than a person wants to keep. Pure."""

import datetime as dt


def after(month: dt.date) -> dt.date:
    """The first day of the month that follows the one of this day."""
    return (month.replace(day=1) + dt.timedelta(days=31)).replace(day=1)


def last_day(month: dt.date) -> dt.date:
    """The last day of a month, given any of its days."""
    return after(month) - dt.timedelta(days=1)


def first_kept(today: dt.date, days: int) -> dt.date:
    """The first day that is kept: that of the month in which the oldest day to be kept lies."""
    return (today - dt.timedelta(days=days)).replace(day=1)


def goes_on(month: dt.date, days: int) -> dt.date:
    """The day on which a month goes."""
    return after(month) + dt.timedelta(days=days)
