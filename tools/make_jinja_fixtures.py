#!/usr/bin/env python3
"""Writes tests/fixtures/jinja/*.json: small templates, one feature each, and what Jinja renders.

The templates run in the environment that transformers builds for chat templates. Every case is
{"template", and "text" or "error": true}. named.json holds conversations as templates in their published
form render them, for the templates that come with thinkey. Needs transformers.
"""

import datetime
import json
import sys
from pathlib import Path

import transformers.utils.chat_template_utils as utils

OUT = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "jinja"
NOW = 1753091415

VARIABLES = {
    "s": "Grüße, Wörld 👩‍🚀", "empty": "", "n": 7, "m": -3, "x": 2.5, "yes": True, "no": False, "nil": None,
    "l": [3, 1, 2], "words": ["b", "A", "c", "a"], "nested": [[1, [2, 3]], {"k": [None, True]}],
    "d": {"b": 2, "a": 1, "items": 5, "k": {"deep": [1, {"z": "Z"}]}},
    "users": [{"name": "Eve", "age": 30, "tags": ["x"]}, {"name": "adam", "age": 25},
              {"name": "Bob", "age": 30, "on": True}],
    "html": "<a href='x'>\"T\" & more</a>", "text": "one two  three\nfour\r\n\n  five ",
}

WHITESPACE = [
    "a\n{% if true %}\nb\n{% endif %}\nc\n", "a\n  {% if true %}  \n  b\n  {% endif %}\nc", "{%- if true -%}\n x \n{%- endif -%}\n y",
    "  {{ n }}  \n  {{- n -}}  \n x", "a {# c #}\n b {#- c -#}  \n d", "{# only #}\n\nx", "x\n", "x\n\n", "\r\nx\r\ny\rz\r\n",
    "a\n   {%+ if true %}b{% endif %}", "a{% if true +%}\nb{% endif %}", "  {#+ c +#}\nx", "\t {% set a = 1 %}\t\n\t{{ a }}",
    "{% raw %}{{ x }} {% if %}{% endraw %}\ny", "a {%- raw -%}  {{ x }}  {%- endraw -%}  b", "{% raw %}\n z\n {% endraw %}\nq",
    "{{ '{{' }}{{ \"%}\" }}", "{% if true %}{{ {'a': {'b': 1}}['a']['b'] }}{% endif %}", "{% for i in [1,2] -%}\n  {{ i }}\n{%- endfor %}",
    "a\u00a0\u2003{%- if true %}x{% endif -%}\u00a0b", "{ {x} {%", "{{ '\\n\\t\\x41\\u00e9\\'\\\"\\\\\\q\\101' }}", "{{ 'a' 'b' \"c\" }}", "{% if true %}\n\n\nx{% endif %}",
    "{{ n\n}}\n{{ nope.x }}", "{#", "{% if", "{{ x", "{% raw %}", "{{ ) }}", "{{ (1] }}", "{{ 'abc }}", "{{ @ }}", "a{{ }}b",
]

LITERALS = [
    "{{ 1_000 }} {{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 00 }} {{ 1.5e3 }} {{ 2e-7 }} {{ 1_0.2_5 }}", "{{ 1.0 }} {{ 100000000000000000.0 }} {{ 1e16 }} {{ 123456789012345680.0 }} {{ 0.0001 }} {{ 0.00001 }}",
    "{{ 1/3 }} {{ 2/1 }} {{ -0.0 }} {{ 1e300*1e10 }}", "{{ [] }}{{ {} }}{{ () }}{{ (1,) }}{{ (1,2) }}{{ [1,'a',none,true,1.0] }}", "{{ {'a': 1, 2: 'b', none: [], true: {}} }}",
    "{{ 'it\\'s' }} {{ ['it\\'s', 'say \"x\"', 'both \\' \"', 'n\\n\\t\\\\', '\\x00\\x7f', 'é\u200b\u00a0👩'] }}", "{{ True }} {{ true }} {{ None }} {{ none }} {{ false }}",
    "{{ 1, 2 }}", "{{ nested }}", "{{ d }}", "{{ [s] }}", "{{ {'a': 1, 'a': 2} }}", "{{ {1: 'a', 1.0: 'b', true: 'c'} }}", "{{ {[1]: 2} }}", "{{ 9223372036854775807 }}",
    "{{ [1,2,] }} {{ {'a':1,} }}", "{{ d['items'] }}", "{{ 5.0.is_integer() }}",
]

OPERATORS = [
    "{{ 1 + 2 * 3 - 4 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 2 ** 3 ** 2 }}", "{{ -2 ** 2 }} {{ (-2) ** 2 }} {{ - 3 }} {{ +3 }} {{ --3 }}",
    "{{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 7 % 2.5 }} {{ 1 + 2.0 }} {{ true + 1 }}", "{{ 1 ~ 2 ~ 'a' ~ none ~ true ~ 1.50 ~ [1] }}", "{{ 'a' + 'b' * 3 }} {{ [1] + [2] }} {{ [1] * 2 }} {{ (1,) + (2,) }} {{ 2 * 'ab' }} {{ 'a' * -1 }}",
    "{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 }} {{ true == 1 }} {{ 'a' < 'b' }} {{ [1,2] < [1,3] }} {{ (1,) == [1] }} {{ none == none }} {{ 1 != 2 }}",
    "{{ 'a' in 'abc' }} {{ 'a' not in 'abc' }} {{ 1 in [1,2] }} {{ 'b' in d }} {{ 3 in (1,2) }} {{ '' in '' }} {{ not 1 in [1] }}", "{{ 1 and 0 or 'x' }} {{ not true }} {{ not not 1 }} {{ '' or none or [] }} {{ 1 and 2 }}",
    "{{ 'y' if yes else 'n' }} {{ 'y' if no }} {{ 'a' if no else 'b' if no else 'c' }} {{ ('q' if no) is defined }}", "{{ 1 if 2 if 0 else 3 }}", "{{ 10 - 3 - 2 }} {{ 100 / 10 / 2 }} {{ 1 - -1 }} {{ 2 * -3 }}",
    "{{ 'a' ~ 1 + 2 }}", "{{ 1 + 2 ~ 3 }}", "{{ -1|abs }} {{ (-1)|abs }} {{ 2 ** 2|abs }}", "{{ n is odd and x is float }} {{ not n is even }} {{ n + 1 is even }}", "{{ 1 + 'a' }}", "{{ 'a' + 1 }}", "{{ none + 1 }}",
    "{{ 1 / 0 }}", "{{ 1 // 0 }}", "{{ 1 % 0 }}", "{{ 1 < 'a' }}", "{{ none < 1 }}", "{{ 1 in 5 }}", "{{ 1 in 'a' }}", "{{ -'a' }}", "{{ [1] + (2,) }}", "{{ {} + {} }}", "{{ d == {'b': 2, 'a': 1, 'items': 5, 'k': {'deep': [1, {'z': 'Z'}]}} }}",
    "{{ 0.1 + 0.2 }} {{ 1e22 }} {{ 1.0e15 }} {{ 3.0 * 2 }} {{ 10 ** 18 }} {{ 10.0 ** 20 }} {{ 5 // 0.3 }} {{ -5.5 // 2 }}", "{{ [[1]] == [[1.0]] }} {{ {'a': [1]} == {'a': [true]} }} {{ 'a' == 1 }} {{ undefined_a == undefined_b }}",
    "{{ '%s and %r' % ('a', 'b') }} {{ '%d' % 3.7 }} {{ '%5d|%-5d|%05d|%+d' % (1, 2, 3, 4) }} {{ '%.3f %e %g' % (1.5, 12345.678, 0.0001) }} {{ '%x %X %o %c %%' % (255, 255, 8, 'z') }}", "{{ '%(a)s-%(b)03d' % d }}", "{{ '%s' % [1] }} {{ '%s' % none }} {{ 'x' % () }}",
    "{{ '%d' % 'a' }}", "{{ '%s %s' % 'a' }}", "{{ '%s' % (1, 2) }}", "{{ '%y' % 1 }}", "{{ '%.2s|%5.1s|' % ('abc', 'xyz') }} {{ '%*d' % (5, 1) }} {{ '%#x' % 255 }}",
]

ACCESS = [
    "{{ d.a }} {{ d['a'] }} {{ d.k.deep[1].z }} {{ d.nope }} {{ d['nope'] }} {{ l[0] }} {{ l[-1] }} {{ l[9] }} {{ l.0 }}", "{{ nope }}|{{ nope is defined }}", "{{ nope.x }}", "{{ d.nope.x }}", "{{ nope['x'] }}", "{{ nope() }}", "{{ none.x }}|{{ none['x'] }}|{{ (1).x }}",
    "{{ nope + 1 }}", "{{ nope ~ 'a' }}", "{{ -nope }}", "{{ nope < 1 }}", "{{ 'a' in nope }} {{ nope|length }} {{ nope|list }} {{ nope|first is defined }}", "{% for i in nope %}x{% else %}none{% endfor %}", "{{ nope or 'x' }} {{ not nope }} {{ nope == none }}",
    "{{ s[0] }}{{ s[2] }}{{ s[-1] }} {{ s[2:5] }} {{ s[::-1] }} {{ s[::2] }} {{ s[-3:] }} {{ s[:-3] }} {{ s[100:] }}|{{ s[5:2] }}", "{{ l[1:] }} {{ l[:1] }} {{ l[::-1] }} {{ l[-2:] }} {{ l[5:] }} {{ l[::2] }} {{ (1,2,3)[1:] }} {{ l[1:2:1] }}",
    "{{ l['a'] is defined }} {{ l[none] is defined }} {{ d[1] is defined }} {{ d[[1]] is defined }} {{ 'abc'[1.0] is defined }}", "{{ l[::0] }}", "{{ d[1:2] is defined }}", "{{ l[yes] }}", "{{ s.__class__ }}|{{ s.__class__ is defined }}|{{ d.__len__ is defined }}",
    "{{ s.__class__.mro() }}", "{{ l.append(1) }}", "{{ l.append is defined }} {{ d.update is defined }} {{ d.pop is defined }}", "{{ d.update({'a': 2}) }}", "{{ d._x is defined }} {{ {'_x': 1}._x }} {{ {'_x': 1}['_x'] }}", "{{ 'abc'.nope is defined }} {{ l.nope is defined }} {{ (5).nope is defined }}",
    "{{ 'a'() }}", "{{ d() }}", "{{ 5.x }}", "{{ users[0].name }} {{ users[0]['tags'][0] }} {{ users[1].tags is defined }}", "{{ range(3)[1] }} {{ range(5)[1:3]|list }} {{ range(3) }} {{ range(1, 10, 3)|list }} {{ range(3, 0, -1)|list }} {{ range(0)|list }}", "{{ range(1000000) }}", "{{ range(1, 2, 0) }}", "{{ range('a') }}",
    "{{ d.items() }} {{ d.keys() }} {{ d.values() }}", "{{ d.items()|list }} {{ d.keys()|list }} {{ d.keys()|length }}", "{{ d.get('a') }} {{ d.get('q') }} {{ d.get('q', 3) }}", "{{ l.index(1) }} {{ l.count(3) }} {{ (1,1).count(1) }} {{ l.copy() }} {{ d.copy() == d }}", "{{ l.index(9) }}",
]

METHODS = [
    "{{ 'a,b,,c'.split(',') }} {{ 'a b  c '.split() }} {{ 'a,b,c'.split(',', 1) }} {{ 'a,b,c'.rsplit(',', 1) }} {{ ' a b c '.split(none, 1) }} {{ ' a b c '.rsplit(none, 1) }} {{ ''.split() }} {{ ''.split(',') }} {{ text.split('\\n') }}", "{{ 'a'.split('') }}",
    "{{ '  x y '.strip() }}|{{ '  x '.lstrip() }}|{{ ' x  '.rstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'xyaxy'.lstrip('yx') }}|{{ '\u00a0\u3000é\u2003'.strip() }}|{{ 'ééaé'.strip('é') }}|{{ '\\n\\ta'.strip(none) }}", "{{ 'abc'.startswith('ab') }} {{ 'abc'.startswith(('x', 'a')) }} {{ 'abc'.endswith('c') }} {{ 'abc'.startswith('b', 1) }} {{ 'abc'.endswith('b', 0, 2) }}",
    "{{ 'abc'.startswith(1) }}", "{{ 'aXbX'.replace('X', '-') }} {{ 'aXbX'.replace('X', '', 1) }} {{ 'ab'.replace('', '-') }} {{ 'aaa'.replace('aa', 'b') }}", "{{ s.upper() }} {{ s.lower() }} {{ 'hello wORLD it\\'s'.title() }} {{ 'hELLO'.capitalize() }} {{ 'aBc'.swapcase() }} {{ 'ß ŉ ﬁ'.upper() }} {{ 'ΑΣ ΣΑ'.lower() }} {{ 'ǆ'.title() }} {{ 'STRASSE'.casefold() }}",
    "{{ ', '.join(['a', 'b']) }} {{ ''.join(words) }} {{ '-'.join('abc') }} {{ ','.join(d) }}", "{{ ','.join([1]) }}", "{{ 'abcabc'.find('c') }} {{ 'abcabc'.rfind('c') }} {{ 'abc'.find('x') }} {{ 'abc'.index('b') }} {{ s.find('W') }} {{ 'abcabc'.find('a', 1) }} {{ 'abcabc'.count('bc') }} {{ 'aaaa'.count('aa') }} {{ 'abc'.count('') }} {{ 'abc'.rfind('') }}", "{{ 'abc'.index('x') }}",
    "{{ 'a\\nb\\r\\nc\\n'.splitlines() }} {{ 'a\\nb'.splitlines(true) }} {{ ''.splitlines() }} {{ 'a\\x0bb\\x85c\u2028d'.splitlines() }}", "{{ '7'.zfill(3) }} {{ '-7'.zfill(4) }} {{ 'a'.ljust(3) }}| {{ 'a'.rjust(3, '*') }} {{ 'ab'.center(5, '.') }} {{ 'abc'.center(6, '.') }} {{ 'é'.rjust(3, '→') }}",
    "{{ 'a-b-c'.partition('-') }} {{ 'a-b-c'.rpartition('-') }} {{ 'abc'.partition('x') }} {{ 'abc'.rpartition('x') }}", "{{ 'abc'.removeprefix('a') }} {{ 'abc'.removesuffix('c') }} {{ 'abc'.removeprefix('x') }}", "{{ 'a\\tb'.expandtabs(4) }}|{{ 'ab\\t\\n\\tc'.expandtabs() }}",
    "{{ 'abc'.isalpha() }} {{ 'ab1'.isalnum() }} {{ '12'.isdigit() }} {{ '²'.isdigit() }} {{ '²'.isdecimal() }} {{ '½'.isnumeric() }} {{ ' \\n'.isspace() }} {{ ''.isspace() }} {{ 'Ab'.istitle() }} {{ 'AB'.isupper() }} {{ 'ab1'.islower() }} {{ '1'.islower() }} {{ 'a'.isascii() }} {{ 'é'.isascii() }} {{ 'a_1'.isidentifier() }} {{ '1a'.isidentifier() }} {{ 'a\\n'.isprintable() }}",
    "{{ '{} {}'.format(1, 'a') }} {{ '{1}{0}'.format('a', 'b') }} {{ '{a} {b!r}'.format(a=1, b='x') }} {{ '{0[k]} {0.k}'.format({'k': 5}) }} {{ '{{}}'.format() }}", "{{ '{:>5}|{:<5}|{:^5}|{:*^7}|{:05d}|{:+d}|{:,}|{:x}|{:#b}|{:.2f}|{:.1%}|{:e}'.format('a', 'b', 'c', 'd', 42, 3, 1234567, 255, 5, 3.14159, 0.256, 12345.0) }}", "{{ '{:{}}|'.format('a', 4) }} {{ '{!s:>4}'.format(1) }} {{ '{:.2}'.format('abc') }} {{ '{}'.format([1, 'a']) }} {{ '{}'.format(none) }}",
    "{{ '{}'.format() }}", "{{ '{a}'.format(1) }}", "{{ '{'.format(1) }}", "{{ '{0} {}'.format(1, 2) }}", "{{ '{:d}'.format('a') }}", "{{ '{0.__class__}'.format('a') }}", "{{ '{x}'.format_map({'x': 1}) }}", "{{ 'a'.upper(1) }}", "{{ 'a'.strip('a', 'b') }}", "{{ 'abc'.find('é') }} {{ 'aéb'.find('b') }} {{ 'aéb'.index('b', -1) }}",
    "{{ 'x'.join(text.split('four')) }}", "{{ (s ~ s).split('W')[0] }}", "{{ '</think>'.join('a</think>b</think>c'.split('</think>')[1:]).lstrip('\\n') }}", "{{ 'a</think>b'.split('</think>')[-1] }}{{ 'a\\n\\n'.rstrip('\\n') }}",
]

FILTERS = [
    "{{ d|tojson }} {{ nested|tojson }} {{ s|tojson }} {{ html|tojson }} {{ 1.0|tojson }} {{ 1e20|tojson }} {{ none|tojson }} {{ true|tojson }} {{ (1, 2)|tojson }}", "{{ d|tojson(indent=2) }}\n{{ nested|tojson(indent=4) }} {{ []|tojson(indent=2) }} {{ {}|tojson(indent=1) }} {{ [1]|tojson(indent=0) }} {{ [[]]|tojson(indent='--') }}",
    "{{ d|tojson(separators=(',', ':')) }} {{ d|tojson(sort_keys=true) }} {{ s|tojson(ensure_ascii=true) }} {{ d|tojson(true, 2, (',', ': '), true) }} {{ 'é'|tojson(true) }}", "{{ '\\x00\\x1f\\x7f\\\\\"\\n\\r\\t\\b\\f/\u2028'|tojson }}", "{{ {1: 2, none: 3, true: 4, 1.5: 5}|tojson }}", "{{ nope|tojson }}", "{{ {(1,2): 3}|tojson }}", "{{ range(3)|tojson }}", "{{ d.items()|tojson }}",
    "{{ '  a '|trim }}|{{ 'xax'|trim('x') }}|{{ 5|trim }}|{{ none|trim }}|{{ nope|trim }}", "{{ s|upper }} {{ s|lower }} {{ 'hello world'|title }} {{ 'foo-bar (baz) [x] o\\'neil'|title }} {{ 'HELLO w'|capitalize }} {{ 5|upper }} {{ none|lower }}", "{{ s|length }} {{ l|count }} {{ d|length }} {{ ''|length }} {{ (1,2)|length }}", "{{ 5|length }}", "{{ none|length }}",
    "{{ nope|default('x') }} {{ none|default('x') }} {{ ''|default('x', true) }} {{ nope|d }} {{ 0|d('y', boolean=true) }} {{ d.nope|default([])|length }}", "{{ l|join }} {{ l|join(', ') }} {{ users|join(', ', attribute='name') }} {{ 'abc'|join('-') }} {{ [none, 1.5, 'a']|join('|') }} {{ nope|join(',') }} {{ d|join }}", "{{ 5|join }}",
    "{{ l|first }} {{ l|last }} {{ 'éa'|first }} {{ 'aé'|last }} {{ []|first is defined }} {{ d|first }} {{ d|last }} {{ range(3)|last }}", "{{ 'abc'|list }} {{ d|list }} {{ (1,2)|list }} {{ l|map('string')|list }}", "{{ none|list }}", "{{ users|map(attribute='name')|list }} {{ users|map(attribute='tags', default='-')|list }} {{ users|map(attribute='tags.0', default='?')|list }} {{ words|map('upper')|join }} {{ l|map('int')|sum }} {{ ['a,b']|map('replace', ',', ';')|list }}", "{{ l|map('nope')|list }}", "{{ l|map('string')|map('length')|list }}",
    "{{ l|select('odd')|list }} {{ l|reject('odd')|list }} {{ [0, 1, '']|select|list }} {{ l|select('gt', 1)|list }} {{ l|select('in', [1, 3])|list }} {{ words|select('==', 'A')|list }}", "{{ users|selectattr('on')|map(attribute='name')|list }} {{ users|selectattr('age', 'eq', 30)|map(attribute='name')|list }} {{ users|rejectattr('on', 'defined')|map(attribute='name')|list }} {{ users|selectattr('tags', 'defined')|list|length }} {{ users|rejectattr('age', 'equalto', 30)|list }}", "{{ 'yes' if users|selectattr('nope')  else 'no' }} {{ 'yes' if users|selectattr('nope')|list else 'no' }} {{ (l|select)|first }}", "{{ l|select('nope')|list }}", "{{ (l|map('string'))|length }}",
    "{% for k, v in d|items %}{{ k }}={{ v }};{% endfor %} {% for k, v in nope|items %}x{% endfor %}", "{{ l|items|list }}", "{% for k, v in d|dictsort %}{{ k }};{% endfor %} {{ {'b': 1, 'A': 3, 'c': 2}|dictsort }} {{ {'b': 1, 'A': 3}|dictsort(true) }} {{ {'b': 1, 'A': 3}|dictsort(by='value', reverse=true) }} {{ {'b': 1, 'A': 3}|dictsort(false, 'value') }}",
    "{{ 'aXb'|replace('X', '-') }} {{ 'aaa'|replace('a', 'b', 2) }} {{ 5|replace('5', '6') }} {{ 'a'|replace('a', 1) }}", "{{ '12'|int }} {{ ' 12 '|int }} {{ '4.7'|int }} {{ 'x'|int }} {{ 'x'|int(5) }} {{ '1f'|int(0, 16) }} {{ '0x1f'|int(base=16) }} {{ 3.9|int }} {{ -3.9|int }} {{ true|int }} {{ none|int }} {{ '1_0'|int }} {{ ''|int }} {{ [1]|int }} {{ '1e3'|int }}", "{{ '1.5'|float }} {{ 'x'|float }} {{ 3|float }} {{ ' 1e3 '|float }} {{ none|float(1.5) }} {{ 'inf'|float }} {{ 'nan'|float }} {{ '0x10'|float }}", "{{ nope|int }}",
    "{{ 5|string + 'a' }} {{ none|string }} {{ [1]|string }} {{ nope|string }}|{{ 1.0|string }}", "{{ html|e }} {{ html|escape }} {{ html|safe }} {{ '<b>'|safe + '<i>' }} {{ '<i>' + '<b>'|safe }} {{ '<b>'|safe ~ '<i>' }} {{ ['<b>'|safe, '<']|join }} {{ ('<b>'|safe).join(['<', '>']) }} {{ ('<b>'|e)|e }} {{ [html|e] }} {{ html|e|length }} {{ ('a'|safe) * 2 + '<' }} {{ ('a<'|safe).replace('a', '<') }} {{ ('A<'|safe|lower) + '>' }} {{ ('a'|safe|string) + '<' }} {{ ('x'|safe)|tojson }}", "{{ (d|tojson|safe) + '<' }}", "{{ '<%s>'|safe % '<' }}",
    "{{ 'a\\nb\\n\\nc'|indent }} {{ 'a\\nb'|indent(2) }} {{ 'a\\nb'|indent(2, true) }} {{ 'a\\n\\nb'|indent(2, blank=true) }} {{ 'a\\nb'|indent('> ') }} {{ 'a\\nb\\n'|indent(width=1, first=true) }} {{ ''|indent(2, true) }}|", "{{ [3,1,2]|sort }} {{ words|sort }} {{ words|sort(case_sensitive=true) }} {{ words|sort(true) }} {{ users|sort(attribute='age')|map(attribute='name')|list }} {{ users|sort(attribute='age,name')|map(attribute='name')|list }} {{ users|sort(reverse=true, attribute='age')|map(attribute='name')|list }} {{ d|sort }}", "{{ [1, 'a']|sort }}",
    "{{ ['a', 'A', 'b', 'a']|unique|list }} {{ ['a', 'A']|unique(true)|list }} {{ users|unique(attribute='age')|map(attribute='name')|list }} {{ [1, 1.0, true, 2]|unique|list }}", "{{ 2.5|round }} {{ 3.5|round }} {{ 2.567|round(2) }} {{ 42.55|round(1, 'floor') }} {{ 42.51|round(1, 'ceil') }} {{ 5|round }} {{ 1234|round(-2) }} {{ 2.675|round(2) }} {{ -2.5|round }} {{ 0.5|round|int }} {{ 1234.5|round(-2) }} {{ 7|round(0, 'ceil') }} {{ 1250|round(-2) }} {{ 15|round(-1) }}", "{{ -5|abs }} {{ -2.5|abs }} {{ l|sum }} {{ users|sum(attribute='age') }} {{ [1, 2.5]|sum(start=10) }} {{ l|min }} {{ l|max }} {{ words|min }} {{ words|max(case_sensitive=true) }} {{ []|max is defined }} {{ (users|max(attribute='age')).name }}",
    "{{ l|reverse|list }} {{ 'abc'|reverse }} {{ (1,2)|reverse|list }} {{ d|reverse|list }}", "{{ [1,2,3,4,5]|batch(2)|list }} {{ [1,2,3]|batch(2, 'x')|list }} {{ [1,2,3,4,5]|slice(2)|list }} {{ [1,2,3]|slice(2, '-')|list }}", "{% for g in users|groupby('age') %}{{ g[0] }}:{{ g[1]|map(attribute='name')|join(',') }};{% endfor %} {% for a, us in users|groupby('on', default=false) %}{{ a }}{{ us|length }}{% endfor %}", "{{ '%s-%d'|format('a', 3) }} {{ '%(x)s'|format(x=1) }}", "{{ 'a b, c'|wordcount }} {{ text|wordcount }}", "{{ 'foo bar baz qux'|truncate(9) }} {{ 'foo bar baz qux'|truncate(9, true) }} {{ 'foo bar baz qux'|truncate(11) }} {{ 'foo bar baz qux'|truncate(11, false, '..', 0) }}", "{{ 'ab'|center(6) }}|{{ 'a b/ü?'|urlencode }} {{ d|attr('a') is defined }} {{ 'x'|attr('upper') is defined }} {{ html|forceescape }}",
    "{{ l|nope }}", "{% if false %}{{ l|nope }}{% endif %}ok", "{% if true %}{{ l|nope }}{% endif %}", "{{ (l|nope) if false else 'ok' }}", "{% if false %}{% for i in l %}{{ i|nope }}{% endfor %}{% endif %}", "{{ 'a'|upper('x') }}", "{{ 'a'|replace('a') }}", "{{ l|join(sep=',') }}", "{% filter upper %}a{{ n }}b{% endfilter %} {% filter replace('a', 'b')|upper %}banana{% endfilter %}", "{{ 'a' | upper | lower }} {{ [1, 2] | map('string') | join('+') }} {{ 'abc'|first|upper }} {{ s|upper|lower|title }}",
]

TESTS = [
    "{{ nope is defined }} {{ n is defined }} {{ nope is undefined }} {{ none is none }} {{ n is none }} {{ d.nope is defined }}", "{{ 'a' is string }} {{ 1 is string }} {{ 1 is number }} {{ 1.5 is number }} {{ true is number }} {{ 'a' is number }} {{ 1 is integer }} {{ true is integer }} {{ 1.0 is integer }} {{ 1.0 is float }} {{ true is boolean }} {{ 1 is boolean }}", "{{ d is mapping }} {{ l is mapping }} {{ l is sequence }} {{ 'a' is sequence }} {{ d is sequence }} {{ 5 is sequence }} {{ range(2) is sequence }} {{ d.items() is sequence }} {{ l is iterable }} {{ 'a' is iterable }} {{ 5 is iterable }} {{ none is iterable }} {{ nope is iterable }} {{ nope is sequence }} {{ (l|map('string')) is iterable }} {{ (l|map('string')) is sequence }}",
    "{{ true is true }} {{ 1 is true }} {{ false is false }} {{ 0 is false }} {{ none is false }}", "{{ 3 is odd }} {{ 4 is even }} {{ 9 is divisibleby 3 }} {{ 9 is divisibleby(2) }}", "{{ 1 is eq 1 }} {{ 1 is equalto(2) }} {{ 1 is ne 2 }} {{ 1 is lt 2 }} {{ 1 is gt 2 }} {{ 1 is le 1 }} {{ 1 is ge 2 }} {{ 1 is lessthan 2 }} {{ 1 is greaterthan 2 }} {{ 1 is in [1, 2] }} {{ 'a' is in 'abc' }} {{ 1 is not in [2] }}", "{{ 'abc' is lower }} {{ 'ABC' is upper }} {{ 'upper' is filter }} {{ 'nope' is filter }} {{ 'odd' is test }} {{ range is callable }} {{ 5 is callable }} {{ 5 is sameas 5 }} {{ ('a'|e) is escaped }} {{ 'a' is escaped }}",
    "{{ n is not none and n is number }} {{ n is defined and n is not string }} {{ not n is none }}", "{{ 'a' is odd }}", "{{ n is nope }}", "{% if false %}{{ n is nope }}{% endif %}ok", "{{ n is divisibleby }}", "{{ nope is odd }}", "{{ 1 is odd is even }}",
]

STATEMENTS = [
    "{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}", "{% for i in l %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }}{% if loop.nextitem is defined %}+{% endif %}{{ loop.cycle('a', 'b') }}{{ loop.changed(i > 1) }}{{ loop.depth }};{% endfor %}", "{% for i in l if i > 1 %}{{ i }}{{ loop.length }}{% endfor %}{% for i in l if i > 9 %}x{% else %}none{% endfor %}",
    "{% for i in [] %}x{% else %}e{% endfor %}{% for c in 'aé' %}[{{ c }}]{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for k, v in d.items() %}{{ k }}{{ v }}{% endfor %}{% for (a, b) in [(1, 2), [3, 4]] %}{{ a + b }}{% endfor %}{% for a, b in ['xy'] %}{{ b }}{% endfor %}", "{% for a, b in [[1]] %}{% endfor %}", "{% for a, b in [[1, 2, 3]] %}{% endfor %}", "{% for a in 5 %}{% endfor %}", "{% for a in none %}{% endfor %}",
    "{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}", "{% break %}", "{% for i in l %}{% macro f() %}{% break %}{% endmacro %}{% endfor %}", "{% for i in l %}{% for j in l %}{{ loop.index }}{% if j == 1 %}{% break %}{% endif %}{% endfor %}{{ loop.index }}{% endfor %}",
    "{% set a = 1 %}{% for i in l %}{% set a = a + i %}{{ a }}{% endfor %}{{ a }}", "{% set ns = namespace(a=1, b='x') %}{% for i in l %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c is defined }}", "{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns['b'] }}{% set ns.c = [ns.a] %}{{ ns.c }}", "{% set ns = namespace() %}{% set ns._x = 1 %}", "{% set d.a = 1 %}", "{% set nope.a = 1 %}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c = 1, 2 %}{{ c }}{% set (x, y) = [3, 4] %}{{ x }}{{ y }}", "{% set a, b = 1 %}",
    "{% set a %}x{{ n }}y\n{% endset %}[{{ a }}]{% set b | upper | trim %} q {% endset %}[{{ b }}]", "{% set a %}{% set inner = 1 %}{% endset %}{{ inner is defined }}", "{% if no %}a{% elif nil %}b{% elif yes %}c{% else %}d{% endif %}{% if empty %}x{% endif %}{% if not empty %}y{% endif %}", "{% if yes %}{% set q = 1 %}{% endif %}{{ q }}", "{% for i in l %}{% if i == 3 %}{% set w = i %}{% endif %}{{ w }}|{% endfor %}{{ w is defined }}", "{% for i in l %}{% set n = 1 %}{% endfor %}{{ n }}", "{% for n in l %}{{ n }}{% endfor %}{{ n }}",
    "{% macro f(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(1) }} {{ f(1, 3) }} {{ f(b=1, a=0) }} {{ f() }}|", "{% macro f(a) %}{{ a is defined }}{% endmacro %}{{ f() }}{{ f(none) }}", "{% macro f() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, x=3) }}{{ f() }}", "{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}", "{% macro f(a) %}{% endmacro %}{{ f(x=1) }}", "{% macro f(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ f(*[1, 2]) }}{{ f(**{'a': 3, 'b': 4}) }}{{ f(*[5], b=6) }}",
    "{% macro f(x) %}{{ caller(x + 1) }}!{% endmacro %}{% call(y) f(1) %}got {{ y }} {{ n }}{% endcall %}", "{% macro f() %}[{{ caller() }}]{% endmacro %}{% call f() %}in{% endcall %}", "{% macro f() %}x{% endmacro %}{% call f() %}in{% endcall %}", "{% macro f() %}{{ caller is defined }}{% endmacro %}{{ f() }}", "{% macro f(k) %}{% if k > 0 %}{{ k }}{{ f(k - 1) }}{% endif %}{% endmacro %}{{ f(5) }}", "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ v }}{% endmacro %}{% set v = 3 %}{{ f() }}", "{% for i in l %}{% macro f() %}{{ i }}{% endmacro %}{{ f() }}{% endfor %}", "{% macro f() %}{% set a = 1 %}{{ a }}{% endmacro %}{{ f() }}{{ a is defined }}", "{% macro f() %} x {% endmacro %}{{ f()|trim }}{{ f() + 'a' }}{{ f }}{{ f.name }}{{ f.arguments }}",
    "{% macro f(a, b={}) %}{{ b.get('x', a) }}{% endmacro %}{{ f(1) }}{{ f(1, {'x': 2}) }}", "{% macro f(a=1, b) %}{% endmacro %}", "{% macro f(a, a) %}{% endmacro %}", "{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}", "{% with %}{% set a = 1 %}{{ a }}{% endwith %}{{ a is defined }}", "{% generation %}a{{ n }}{% set g = 1 %}{% endgeneration %}{{ g is defined }}", "x\n  {% generation %}\n  y\n  {% endgeneration %}\nz", "{% for i in l %}{% generation %}{{ loop.index }}{{ i }}{% endgeneration %}{% endfor %}", "{% block a %}{{ n }}{% endblock %}{% block b scoped %}x{% endblock b %}",
    "{% for t in [{'v': 1, 'c': [{'v': 2, 'c': []}]}] recursive %}{{ t.v }}{{ loop.depth }}({{ loop(t.c) }}){% endfor %}", "{% print n, 'a' %}{% print 1 %}", "{% do l.append(1) %}", "{% include 'x' %}", "{% nope %}", "{% if yes %}", "{% for i in l %}", "{% endif %}", "{% if yes %}{% endfor %}", "{% set %}", "{% set 1 = 2 %}", "{% set true = 2 %}", "{% for loop in l %}{% endfor %}", "{% else %}", "{% if yes: %}a{% endif %}",
    "{{ raise_exception('no ' ~ n) }}", "{% if no %}{{ raise_exception('x') }}{% endif %}ok", "{{ strftime_now('%d %b %Y %H:%M:%S %A %j %y %% %B %-d') }}", "{{ strftime_now('') }}|{{ strftime_now('%Y-%m-%d') }}", "{{ dict(a=1, b=2) }} {{ dict({'x': 1}, y=2) }} {{ dict([['k', 'v']]) }} {{ dict() }}", "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}", "{% set j = joiner('|') %}{% for i in l %}{{ j() }}{{ i }}{% endfor %}", "{{ namespace(a=1).a }}", "{{ dict(1) }}",
    "{% set messages = [{'role': 'a'}] + [{'role': 'b'}] %}{% for m in messages[1:] %}{{ m.role }}{% endfor %}{{ messages[-1]['role'] }}", "{%- for u in users %}{% if loop.last %}{{ u.name }}{% elif loop.first %}first{% else %}mid{% endif %}{{ ', ' if not loop.last }}{% endfor %}", "{% if users[0].name == 'Eve' and 'tags' in users[0] and users[0]['tags'] %}t{% endif %}", "{% set x = x if x is defined else 1 %}{{ x }}{% set y = y if y is defined else 1 %}{{ y }}", "{% for a in l %}{% for b in words %}{{ a }}{{ b }}{{ loop.index }} {% endfor %}{% endfor %}", "{{ caller }}{{ varargs }}|", "{% for i in range(3) %}{{ loop }}{% endfor %}", "{% set loop = 1 %}",
    "{% macro a(x) -%}\n  {%- if x is mapping -%}\n  {{- '{' -}}{%- for k, v in x|items -%}{{ k }}:{{ a(v) }}{{- ',' if not loop.last -}}{%- endfor -%}{{- '}' -}}\n  {%- elif x is string -%}'{{ x }}'\n  {%- elif x is sequence -%}[{%- for v in x -%}{{ a(v) }}{{- ',' if not loop.last -}}{%- endfor -%}]\n  {%- else -%}{{ x }}{%- endif -%}\n{%- endmacro -%}\n{{ a(d) }} {{ a(nested) }}",
]


# --- templates that come with thinkey ----------------------------------------------------------------

# Questions and answers; the system's message joins the first question. The placeholders are the literal text of
# the published templates, whose spaces differ between versions.
MISTRAL = (
    "{{{{ bos_token }}}}{{% if messages[0]['role'] == 'system' %}}{{% set head = messages[0]['content'] + '\\n\\n' %}}"
    "{{% set turns = messages[1:] %}}{{% else %}}{{% set head = '' %}}{{% set turns = messages %}}{{% endif %}}"
    "{{% for turn in turns %}}{{% if turn['role'] == 'user' %}}"
    "{{{{ '{open}' + (head if loop.first else '') + turn['content'] + '{close}' }}}}"
    "{{% else %}}{{{{ {answer} + eos_token }}}}{{% endif %}}{{% endfor %}}"
)
TRIMMED_ANSWER = "' ' + turn['content']|trim"
PUBLISHED = {
    "llama-2": (
        "{% if messages[0]['role'] == 'system' %}{% set turns = messages[1:] %}{% set system = messages[0]['content'] %}"
        "{% else %}{% set turns = messages %}{% set system = false %}{% endif %}{% for turn in turns %}"
        "{% if loop.first and system != false %}"
        "{% set text = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + turn['content'] %}"
        "{% else %}{% set text = turn['content'] %}{% endif %}"
        "{% if turn['role'] == 'user' %}{{ bos_token + '[INST] ' + text.strip() + ' [/INST]' }}"
        "{% else %}{{ ' ' + text.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
    ),
    "llama-3": (
        "{% for turn in messages %}{% set text = '<|start_header_id|>' + turn['role'] + '<|end_header_id|>\\n\\n'"
        " + turn['content'] | trim + '<|eot_id|>' %}{% if loop.first %}{% set text = bos_token + text %}{% endif %}"
        "{{ text }}{% endfor %}{% if add_generation_prompt %}"
        "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
    ),
    "mistral-v1": MISTRAL.format(open=" [INST] ", close=" [/INST]", answer=TRIMMED_ANSWER),
    "mistral-v3": MISTRAL.format(open="[INST] ", close="[/INST]", answer=TRIMMED_ANSWER),
    "mistral-v3-tekken": MISTRAL.format(open="[INST]", close="[/INST]", answer="turn['content']"),
    "chatml": (
        "{% for turn in messages %}{{ '<|im_start|>' + turn['role'] + '\\n' + turn['content'] + '<|im_end|>' + '\\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    ),
    "zephyr": (
        "{% for message in messages %}\n{% if message['role'] == 'user' %}\n"
        "{{ '<|user|>\\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n"
        "{{ '<|system|>\\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'assistant' %}\n"
        "{{ '<|assistant|>\\n' + message['content'] + eos_token }}\n{% endif %}\n"
        "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
    ),
    "phi-3": (
        "{% for m in messages %}{% if m.role == 'system' %}{{ '<|system|>\\n' + m.content + '<|end|>\\n' }}"
        "{% elif m.role == 'user' %}{{ '<|user|>\\n' + m.content + '<|end|>\\n' }}"
        "{% else %}{{ '<|assistant|>\\n' + m.content + '<|end|>\\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
    ),
    "gemma": (  # the form of Gemma 3: the system's message joins the first question
        "{{ bos_token }}{% if messages[0].role == 'system' %}{% set first = messages[0].content | trim + '\\n\\n' %}"
        "{% set turns = messages[1:] %}{% else %}{% set first = '' %}{% set turns = messages %}{% endif %}"
        "{% for m in turns %}{% set role = 'model' if m.role == 'assistant' else m.role %}"
        "{{ '<start_of_turn>' + role + '\\n' + (first if loop.first else '') }}{{ m.content | trim }}"
        "{{ '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
    ),
}
CONVERSATIONS = [
    [("user", "Hello")],
    [("system", "Be brief."), ("user", "Hello")],
    [("user", "One"), ("assistant", "Two"), ("user", "Three")],
    [("system", "Be\nkind. "), ("user", " spaced \n"), ("assistant", "  An answer.\n"), ("user", "More?\u3000"),
     ("assistant", "No."), ("user", "¿Y después? 🙂")],
    [("user", "Hi"), ("assistant", "Bye")],
]


def make_named():
    cases = []
    for name, template in PUBLISHED.items():
        for conversation in CONVERSATIONS:
            messages = [{"role": role, "content": content} for role, content in conversation]
            compiled = utils._cached_compile_jinja_template(template)
            for prompts in (True, False):
                text = compiled.render(messages=messages, bos_token="<s>", eos_token="</s>", add_generation_prompt=prompts)
                cases.append({"name": name, "messages": messages, "add_generation_prompt": prompts, "text": text})
    return cases


def render(template):
    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).replace(tzinfo=None)

    utils.datetime = Clock
    try:
        return {"text": utils._cached_compile_jinja_template(template).render(**VARIABLES)}
    except Exception:  # whichever: a template that raises must be refused
        return {"error": True}


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    groups = {"whitespace": WHITESPACE, "literals": LITERALS, "operators": OPERATORS, "access": ACCESS, "methods": METHODS,
              "filters": FILTERS, "tests": TESTS, "statements": STATEMENTS}
    for name, templates in groups.items():
        cases = [{"template": template, **render(template)} for template in templates]
        lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
        variables = json.dumps(json.dumps(VARIABLES, ensure_ascii=False), ensure_ascii=False)  # as text: order counts
        (OUT / f"{name}.json").write_text(
            f'{{"now": {NOW}, "variables": {variables},\n"cases": [\n{lines}\n]}}\n', encoding="utf-8")
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in make_named())
    (OUT / "named.json").write_text(f'{{"cases": [\n{lines}\n]}}\n', encoding="utf-8")
    print(sum(len(templates) for templates in groups.values()), "templates")
    return 0


if __name__ == "__main__":
    sys.exit(main())
