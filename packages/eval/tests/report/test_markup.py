from vision_r1_eval.report.markup import tag, text


def test_text_and_attributes_are_escaped_and_content_is_not():
    assert text("<a href='x'>&") == "&lt;a href=&#x27;x&#x27;&gt;&amp;"
    assert tag("p", "<b></b>", title='"><script>') == '<p title="&quot;&gt;&lt;script&gt;"><b></b></p>'


def test_attribute_names_and_short_floats():
    assert tag("rect", class_="a", stroke_width=1 / 3, x=2.0, id=None) == (
        '<rect class="a" stroke-width="0.33" x="2"></rect>'
    )
    assert 'x="1234567.89"' in tag("rect", x=1234567.891)


def test_elements_that_hold_nothing_have_no_end():
    assert tag("input", type="radio", name="kind", value="") == '<input type="radio" name="kind" value="">'
