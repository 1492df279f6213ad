//! Pages of lists that are sorted by a name.

/// What comes after the page that a cursor ends, at most `most`, and the next cursor if there is more. A cursor is the
/// name of the page's last item.
pub(super) fn page<'a, T>(
    items: &'a [T],
    name: impl Fn(&T) -> &str,
    after: Option<&str>,
    most: usize,
) -> (&'a [T], Option<String>) {
    let begin = items.partition_point(|item| after.is_some_and(|after| name(item) <= after));
    let rest = items.get(begin..).unwrap_or_default();
    match rest.split_at_checked(most) {
        Some((page, more)) if !more.is_empty() => (page, page.last().map(|last| name(last).to_owned())),
        _ => (rest, None),
    }
}

#[cfg(test)]
mod tests {
    use super::page;

    #[test]
    fn pages_follow_each_other_without_a_gap() {
        let items = ["a", "b", "c", "d", "e"];
        let of = |after, most| page(&items, |item| *item, after, most);
        assert_eq!(of(None, 2), (&items[..2], Some("b".to_owned())));
        assert_eq!(of(Some("b"), 2), (&items[2..4], Some("d".to_owned())));
        assert_eq!(of(Some("d"), 2), (&items[4..], None));
        assert_eq!(of(None, 5), (&items[..], None));
        // One that has gone meanwhile is no gap either.
        assert_eq!(of(Some("bb"), 9), (&items[2..], None));
        assert_eq!(of(Some("z"), 2), (&items[5..], None));
    }
}
