use super::*;

#[test]
fn a_label_key_is_as_long_as_it_may_be() {
    for (key, fits) in
        [("", false), ("a", true), (&"k".repeat(LABEL_KEY_MAX), true), (&"k".repeat(LABEL_KEY_MAX + 1), false)]
    {
        assert_eq!(LabelKey::new(key).map(|k| k.as_str().to_owned()), fits.then(|| key.to_owned()), "{key}");
    }
}
