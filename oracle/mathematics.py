"""Pairs of usual spellings of mathematical answers, with math-verify's verdict: fixtures/mathematics.json.

Families of pairs (truth, answer), equal ones and unequal ones, are made by rules with seeded numbers. What is written down
is what math-verify says of `$truth$` and `$answer$`, not what the rule intended: {family: [[truth, answer, equal], ...]}.
"""

import json
import random
from math import gcd
from pathlib import Path

from math_verify import parse, verify

HERE = Path(__file__).parent
rng = random.Random(0)


def number(low: int = 2, high: int = 99) -> int:
    return rng.randint(low, high)


def fraction() -> tuple[int, int]:
    while True:
        above, below = number(1, 9), number(2, 9)
        if gcd(above, below) == 1:
            return above, below


def thousands() -> tuple[str, str]:
    value = rng.randint(1_000, 99_999_999)
    return f"{value}", f"{value:,}"


def against(truth, equal, unequal=()):
    """The truth with each answer, and each equal answer as the truth of the first spelling."""
    for answer in [*equal, *unequal]:
        yield truth, answer
    for answer in equal:
        yield answer, truth


def integers():
    for _ in range(4):
        n = number(10, 999)
        yield from against(
            f"{n}",
            [f"+{n}", f"{n}.0", f" {n} ", f"{n}.", f"\\text{{{n}}}", f"{{{n}}}", f"({n})", f"\\mathbf{{{n}}}"],
            [f"{n + 1}", f"-{n}", f"{n}0", f"{n}.5", f"1{n}"],
        )
        yield from against(f"-{n}", [f"- {n}", f"-{n}.00", f"\u2212{n}", f"(-{n})", f"-(+{n})"], [f"{n}", f"-{n + 1}"])


def separators():
    for _ in range(4):
        bare, separated = thousands()
        yield from against(bare, [separated, separated.replace(",", "{,}"), separated.replace(",", "\\,"),
                                  separated.replace(",", "\\!,"), separated + ".0", f"\\${separated}"],
                           [separated[:-1], separated + "0", "1" + bare])


def decimals():
    for _ in range(4):
        n = number(1, 9)
        yield from against(f"0.{n}", [f".{n}", f"0.{n}0", f"0.{n}00", f"\\frac{{{n}}}{{10}}", f"{n}/10"],
                           [f"0.0{n}", f"{n}", f"-0.{n}", f"{n}.0"])
        yield from against(f"{number()}.{number()}", [], [f"{number()}.{number()}"])


def fractions():
    for _ in range(4):
        a, b = fraction()
        k = number(2, 5)
        yield from against(
            f"\\frac{{{a}}}{{{b}}}",
            [f"\\frac{a}{b}", f"\\frac {a} {b}", f"\\dfrac{{{a}}}{{{b}}}", f"\\tfrac{{{a}}}{{{b}}}", f"{a}/{b}",
             f"\\frac{{{k * a}}}{{{k * b}}}", f"\\cfrac{{{a}}}{{{b}}}", f"\\frac{a}{{{b}}}", f"\\frac{{{a}}}{b}",
             f"\\left(\\frac{{{a}}}{{{b}}}\\right)", f"{a} / {b}", f"{a}\\div {b}"],
            [f"\\frac{{{b}}}{{{a}}}", f"-\\frac{{{a}}}{{{b}}}", f"\\frac{{{a + 1}}}{{{b}}}", f"{a}{b}"],
        )
        yield from against(f"-\\frac{{{a}}}{{{b}}}", [f"\\frac{{-{a}}}{{{b}}}", f"\\frac{{{a}}}{{-{b}}}", f"-{a}/{b}",
                                                     f"-\\dfrac{a}{b}"], [f"\\frac{{-{a}}}{{-{b}}}"])


def rounded():
    for a, b in [(1, 3), (2, 3), (1, 7), (5, 6)]:
        truth = f"\\frac{{{a}}}{{{b}}}"
        for digits in (2, 4, 6, 9, 12):
            yield truth, f"{a / b:.{digits}f}"
            yield f"{a / b:.{digits}f}", truth
    yield from against("3.14159265", ["\\pi"], ["3.14", "\\frac{22}{7}"])
    yield from against("1.4142136", ["\\sqrt{2}"], ["1.41"])


def mixed():
    for _ in range(4):
        n, (a, b) = number(2, 9), fraction()
        if a > b:
            a, b = b, a
        b = b if b > 1 else 3
        yield from against(f"{n}\\frac{{{a}}}{{{b}}}", [f"\\frac{{{n * b + a}}}{{{b}}}", f"{n} \\frac{{{a}}}{{{b}}}",
                                                       f"{n}\\dfrac{a}{b}", f"{n}+\\frac{{{a}}}{{{b}}}"],
                           [f"\\frac{{{n * a}}}{{{b}}}", f"{n}", f"{n + 1}\\frac{{{a}}}{{{b}}}"])


def percentages():
    for _ in range(4):
        n = number(2, 98)
        yield from against(f"{n}\\%", [f"{n}%", f"{n} \\%", f"{n}\\text{{%}}", f"{n}.0\\%", f"{n}", f"{n / 100}",
                                       f"\\frac{{{n}}}{{100}}", f"{n} percent", f"{n}\\text{{ percent}}"],
                           [f"{n + 1}\\%", f"-{n}\\%", f"{n / 10}\\%"])


def degrees():
    for _ in range(3):
        n = number(10, 180)
        yield from against(f"{n}^\\circ", [f"{n}^{{\\circ}}", f"{n}°", f"{n}", f"{n} ^\\circ", f"{n}\\degree",
                                           f"{n}\\text{{ degrees}}", f"{n}^{{\\circ}}C"], [f"{n + 1}^\\circ", f"-{n}^\\circ"])


def units():
    for _ in range(3):
        n = number(2, 60)
        yield from against(
            f"{n}\\text{{ cm}}",
            [f"{n}", f"{n} cm", f"{n}\\,\\mathrm{{cm}}", f"{n}\\ \\text{{cm}}", f"{n}\\mathrm{{~cm}}", f"{n} \\text{{ cm}}",
             f"{n}\\text{{cm}}", f"{n}.0\\text{{ cm}}", f"{n}\\mbox{{ cm}}"],
            [f"{n + 1}\\text{{ cm}}", f"{n + 2}", f"-{n}\\text{{ cm}}"],
        )
        for unit in ("kg", "m", "hours", "years", "feet", "inches", "minutes", "mph", "liters"):
            yield f"{n}", f"{n}\\text{{ {unit}}}"
            yield f"{n}\\text{{ {unit}}}", f"{n} {unit}"
            yield f"{n}\\text{{ {unit}}}", f"{n + 1} {unit}"
        yield from against(f"{n}\\text{{ cm}}^2", [f"{n}", f"{n}\\,\\text{{cm}}^{{2}}", f"{n} \\mathrm{{cm}}^2"],
                           [f"{n + 1}\\text{{ cm}}^2"])


def money():
    for _ in range(3):
        n = number(2, 99)
        yield from against(f"\\${n}", [f"{n}", f"\\${n}.00", f"{n}\\text{{ dollars}}", f"\\$ {n}"], [f"\\${n + 1}", f"\\${n}.50"])


def scientific():
    for _ in range(4):
        a, k = number(11, 99) / 10, number(3, 6)
        value = round(a * 10**k)
        yield from against(f"{a} \\times 10^{{{k}}}", [f"{a}\\cdot 10^{k}", f"{a}\\times10^{k}", f"{value}", f"{value:,}",
                                                      f"{a * 10:.0f}\\times 10^{{{k - 1}}}", f"{a}*10^{k}", f"{a}e{k}"],
                           [f"{a}\\times 10^{{{k + 1}}}", f"{a}\\times 10^{{-{k}}}", f"{a}"])
        yield from against(f"{a}\\times 10^{{-{k}}}", [f"{a / 10**k:.{k + 1}f}"], [f"{a / 10**k:.{k + 1}f}9"[1:]])


def surds():
    for n, r in [(2, 2), (3, 2), (2, 3), (5, 3), (3, 5), (4, 7)]:
        yield from against(f"{n}\\sqrt{{{r}}}", [f"{n}\\sqrt {r}", f"\\sqrt{{{n * n * r}}}", f"{n}\\cdot\\sqrt{{{r}}}",
                                                f"\\sqrt{r}\\cdot {n}", f"{n} \\sqrt{r}", f"{n}*\\sqrt{{{r}}}"],
                           [f"{n + 1}\\sqrt{{{r}}}", f"\\sqrt{{{n * r}}}", f"-{n}\\sqrt{{{r}}}", f"{n}"])
        yield from against(f"\\frac{{\\sqrt{r}}}{{{n}}}", [f"\\sqrt{{{r}}}/{n}", f"\\frac{{{r}}}{{{n}\\sqrt{{{r}}}}}",
                                                          f"\\frac{{1}}{{{n}}}\\sqrt{{{r}}}", f"\\dfrac{{\\sqrt{{{r}}}}}{{{n}}}"],
                           [f"\\frac{{{n}}}{{\\sqrt{r}}}", f"\\frac{{\\sqrt{r}}}{{{n + 1}}}"])
        yield from against(f"{n}+\\sqrt{{{r}}}", [f"\\sqrt{{{r}}}+{n}"], [f"{n}-\\sqrt{{{r}}}", f"{n}\\sqrt{{{r}}}"])
    yield from against("\\sqrt[3]{8}", ["2", "8^{1/3}", "8^{\\frac{1}{3}}"], ["3", "\\sqrt{8}"])
    yield from against("\\sqrt{16}", ["4", "\\frac{8}{2}"], ["-4", "8"])


def pi():
    for _ in range(4):
        n, (a, b) = number(2, 30), fraction()
        yield from against(f"{n}\\pi", [f"\\pi\\cdot {n}", f"{n} \\pi", f"{n}\\cdot\\pi", f"{n}π", f"{n}*\\pi",
                                        f"{n}\\pi\\text{{ cm}}"], [f"{n + 1}\\pi", f"{n}", f"\\pi^{n}", f"{n * 3.14:.2f}"])
        yield from against(f"\\frac{{{a}\\pi}}{{{b}}}", [f"\\frac{{{a}}}{{{b}}}\\pi", f"{a}\\pi/{b}", f"\\frac{{{2 * a}\\pi}}{{{2 * b}}}"],
                           [f"\\frac{{{a}\\pi}}{{{b + 1}}}", f"\\frac{{{b}\\pi}}{{{a}}}"])


def powers():
    for base, exponent in [(2, 10), (3, 4), (5, 3), (10, 6), (2, 5)]:
        yield from against(f"{base}^{{{exponent}}}", [f"{base**exponent}", f"{base}^{{{exponent - 1}}}\\cdot {base}"],
                           [f"{base * exponent}", f"{exponent}^{{{base}}}", f"{base**exponent + 1}"])
        yield from against(f"{base}^{{-{exponent}}}", [f"\\frac{{1}}{{{base**exponent}}}", f"\\frac{{1}}{{{base}^{{{exponent}}}}}"],
                           [f"-{base**exponent}"])
    yield from against("5!", ["120"], ["125", "5"])
    yield from against("\\binom{5}{2}", ["10"], ["\\frac{5}{2}", "20"])
    yield from against("|-3|", ["3"], ["-3"])


def polynomials():
    for _ in range(6):
        a, b, c = number(2, 9), number(2, 9), number(1, 9)
        yield from against(f"{a}x+{b}", [f"{b}+{a}x", f"{a}x + {b}", f"{a} x+{b}", f"{a}\\cdot x+{b}", f"{a}*x+{b}"],
                           [f"{a}x-{b}", f"{b}x+{a}" if a != b else f"{a}x", f"{a}x", f"{a}y+{b}"])
        yield from against(f"x^2+{a + c}x+{a * c}", [f"(x+{a})(x+{c})", f"(x+{c})(x+{a})", f"x^{{2}}+{a + c}x+{a * c}",
                                                    f"x(x+{a + c})+{a * c}"],
                           [f"(x-{a})(x+{c})", f"x^2+{a * c}x+{a + c}" if a + c != a * c else "x^2", f"(x+{a})(x-{c})"])
        yield from against(f"{a}(x+{b})", [f"{a}x+{a * b}", f"{a}\\left(x+{b}\\right)"], [f"{a}x+{b}"])
    yield from against("xy", ["yx", "x y", "x\\cdot y", "x*y"], ["x+y", "x/y"])
    yield from against("a^2-b^2", ["(a-b)(a+b)", "(a+b)(a-b)"], ["(a-b)^2", "b^2-a^2"])


def functions():
    yield from against("\\frac{x^2-1}{x-1}", ["x+1"], ["x-1"])
    yield from against("\\frac{a+b}{2}", ["\\frac{a}{2}+\\frac{b}{2}", "(a+b)/2", "\\frac{1}{2}(a+b)"], ["a+\\frac{b}{2}", "\\frac{ab}{2}"])
    yield from against("\\frac{1}{x}+\\frac{1}{y}", ["\\frac{x+y}{xy}"], ["\\frac{1}{x+y}", "\\frac{2}{xy}"])
    yield from against("\\sin^2 x", ["1-\\cos^2 x", "(\\sin x)^2", "\\sin^2(x)"], ["\\sin x", "\\cos^2 x"])
    yield from against("2\\sin x\\cos x", ["\\sin 2x", "\\sin(2x)"], ["2\\sin x", "\\cos(2x)"])
    yield from against("e^{2x}", ["(e^x)^2", "e^x\\cdot e^x"], ["2e^x", "e^{x^2}"])
    yield from against("\\ln 2", ["\\ln(2)", "\\ln{2}", "-\\ln\\frac{1}{2}"], ["\\ln 3", "2", "\\log_{10} 2"])
    yield from against("\\log_2 8", ["3", "\\log_{2}{8}"], ["8", "2"])
    yield from against("\\sin\\frac{\\pi}{6}", ["\\frac{1}{2}", "0.5"], ["\\frac{\\sqrt{3}}{2}"])
    yield from against("\\cos 60^\\circ", ["\\cos(60^\\circ)"], ["\\sin 60^\\circ"])
    yield from against("x^{\\frac{1}{2}}", ["\\sqrt{x}"], ["x^2", "\\frac{x}{2}"])
    yield from against("x^{-1}", ["\\frac{1}{x}", "1/x"], ["-x", "x"])


def assignments():
    for _ in range(3):
        n, (a, b) = number(2, 50), fraction()
        yield from against(f"{n}", [f"x={n}", f"x = {n}", f"y={n}", f"x={n}.0", f"\\theta={n}", f"f(x)={n}", f"AB={n}"],
                           [f"x={n + 1}", f"x=-{n}"])
        yield from against(f"x={n}", [f"x = {n}", f"x={2 * n}/2"], [f"y={n}", f"x={n + 1}"])
        yield from against(f"\\frac{{{a}}}{{{b}}}", [f"x=\\frac{{{a}}}{{{b}}}", f"x={a}/{b}", f"x=\\frac{{{2 * a}}}{{{2 * b}}}=\\frac{a}{b}"],
                           [f"x=\\frac{{{b}}}{{{a}}}"])


def equations():
    for _ in range(3):
        a, b = number(2, 9), number(2, 9)
        yield from against(f"y={a}x+{b}", [f"y = {a}x + {b}", f"{a}x+{b}=y", f"y={b}+{a}x", f"{a}x-y+{b}=0", f"y-{a}x={b}",
                                           f"{a}x+{b}"],
                           [f"y={a}x-{b}", f"y={b}x+{a + b}", f"x={a}y+{b}"])
        yield from against(f"x^2+y^2={a * a}", [f"y^2+x^2={a * a}", f"x^2+y^2-{a * a}=0", f"x^{{2}}+y^{{2}}={a}^2"],
                           [f"x^2+y^2={a}", f"x^2-y^2={a * a}"])


def inequalities():
    for _ in range(3):
        n = number(2, 20)
        yield from against(f"x>{n}", [f"x > {n}", f"{n}<x", f"x \\gt {n}", f"({n},\\infty)"], [f"x<{n}", f"x\\ge {n}", f"x>{n + 1}"])
        yield from against(f"x\\le {n}", [f"x\\leq {n}", f"x \\leqslant {n}", f"{n}\\geq x", f"x≤{n}", f"(-\\infty,{n}]"],
                           [f"x<{n}", f"x\\ge {n}"])
        yield from against(f"{n}<x<{n + 3}", [f"{n} < x < {n + 3}", f"({n},{n + 3})"], [f"{n}\\le x<{n + 3}", f"{n}<x<{n + 4}"])


def sets():
    for _ in range(4):
        a, b, c = rng.sample(range(1, 30), 3)
        yield from against(f"\\{{{a},{b},{c}\\}}", [f"\\{{{a}, {b}, {c}\\}}", f"\\{{{c},{a},{b}\\}}", f"\\left\\{{{a},{b},{c}\\right\\}}",
                                                   f"{a},{b},{c}", f"{a}, {b}, {c}", f"{b},{a},{c}", f"{a}, {b} and {c}"],
                           [f"\\{{{a},{b}\\}}", f"\\{{{a},{b},{c + 1}\\}}", f"{a}", f"\\{{{a},{b},{c},{c + 1}\\}}"])
        yield from against(f"{a},{b}", [f"{a}, {b}", f"{b}, {a}", f"{a} and {b}", f"{a}\\text{{ and }}{b}", f"x={a},{b}",
                                        f"x={a}, x={b}", f"{a}.0, {b}", f"{a};{b}"], [f"{a},{b + 1}", f"{a}"])
    yield from against("\\{\\frac{1}{2},3\\}", ["\\{0.5,3\\}", "\\{3,\\frac12\\}"], ["\\{2,3\\}"])
    yield from against("\\emptyset", ["\\varnothing", "\\{\\}"], ["\\{0\\}", "0"])


def tuples():
    for _ in range(4):
        a, b, c = rng.sample(range(1, 30), 3)
        yield from against(f"({a},{b})", [f"({a}, {b})", f"\\left({a},{b}\\right)", f"( {a} , {b} )", f"({a}.0,{b})", f"{a},{b}",
                                          f"(x,y)=({a},{b})", f"\\big({a},{b}\\big)", f"({2 * a}/2,{b})"],
                           [f"({b},{a})", f"({a},{b + 1})", f"({a},{b},0)", f"[{a},{b}]"])
        yield from against(f"({a},{b},{c})", [f"({a}, {b}, {c})", f"\\left({a}, {b}, {c}\\right)"], [f"({b},{a},{c})", f"({a},{b})"])
        yield from against(f"(-{a},\\frac{{1}}{{{b}}})", [f"(-{a}, 1/{b})", f"\\left(-{a},\\frac{{1}}{{{b}}}\\right)"],
                           [f"({a},\\frac{{1}}{{{b}}})"])
    yield from against("(1,\\sqrt{2})", ["(1,\\sqrt2)", "(1, 2^{1/2})", "\\left(1,\\frac{2}{\\sqrt{2}}\\right)"], ["(1,2)"])


def intervals():
    for _ in range(3):
        a = number(1, 9)
        b = a + number(1, 9)
        yield from against(f"[{a},{b})", [f"[{a}, {b})", f"\\left[{a},{b}\\right)", f"[{a}.0,{b})"],
                           [f"[{a},{b}]", f"({a},{b})", f"({a},{b}]", f"[{a},{b + 1})"])
        yield from against(f"(-\\infty,{a}]", [f"(-\\infty, {a}]", f"\\left(-\\infty,{a}\\right]"], [f"(-\\infty,{a})", f"[{a},\\infty)"])
        yield from against(f"(-\\infty,{a})\\cup({b},\\infty)", [f"(-\\infty, {a}) \\cup ({b}, \\infty)",
                                                              f"({b},\\infty)\\cup(-\\infty,{a})",
                                                              f"\\left(-\\infty,{a}\\right)\\cup\\left({b},+\\infty\\right)"],
                           [f"(-\\infty,{a}]\\cup({b},\\infty)", f"(-\\infty,{a})"])


def matrices():
    for _ in range(3):
        a, b, c, d = (number(1, 9) for _ in range(4))
        body = f"{a} & {b} \\\\ {c} & {d}"
        yield from against(f"\\begin{{pmatrix}} {body} \\end{{pmatrix}}",
                           [f"\\begin{{bmatrix}} {body} \\end{{bmatrix}}", f"\\begin{{pmatrix}}{a}&{b}\\\\{c}&{d}\\end{{pmatrix}}",
                            f"\\left(\\begin{{array}}{{cc}} {body} \\end{{array}}\\right)",
                            f"\\begin{{pmatrix}} {2 * a}/2 & {b} \\\\ {c} & {d} \\end{{pmatrix}}"],
                           [f"\\begin{{pmatrix}} {a} & {c + 10} \\\\ {b} & {d} \\end{{pmatrix}}", f"\\begin{{pmatrix}} {a} & {b} \\end{{pmatrix}}"])
        yield from against(f"\\begin{{pmatrix}} {a} \\\\ {b} \\end{{pmatrix}}", [f"\\begin{{bmatrix}} {a} \\\\ {b} \\end{{bmatrix}}"],
                           [f"\\begin{{pmatrix}} {b + 1} \\\\ {a} \\end{{pmatrix}}", f"\\begin{{pmatrix}} {a} & {b} \\end{{pmatrix}}"])


def choices():
    for letter, other in ["AB", "BC", "DA"]:
        yield from against(letter, [f"({letter})", f"\\text{{{letter}}}", f"\\text{{({letter})}}", f"\\textbf{{{letter}}}",
                                    f"\\mathrm{{{letter}}}", f"{letter}.", f"\\textbf{{({letter})}}", f"\\mathbf{{{letter}}}"],
                           [other, f"({other})", f"\\text{{{other}}}"])


def words():
    for word, other in [("yes", "no"), ("Monday", "Friday"), ("blue", "red"), ("even", "odd"), ("right triangle", "circle")]:
        yield from against(f"\\text{{{word}}}", [word, f"\\text{{{word.capitalize()}}}", f"\\mathrm{{{word}}}", f"\\textbf{{{word}}}",
                                                f"\\text{{ {word} }}", f"\\text{{{word}.}}"], [f"\\text{{{other}}}", other])


def wrappers():
    for _ in range(2):
        a, b = fraction()
        yield from against(f"\\frac{{{a}}}{{{b}}}", [f"\\displaystyle\\frac{{{a}}}{{{b}}}", f"\\frac{{{a}}}{{{b}}}.", f"\\,\\frac{{{a}}}{{{b}}}",
                                                    f"{{\\frac{{{a}}}{{{b}}}}}", f"\\mathbf{{\\frac{{{a}}}{{{b}}}}}",
                                                    f"\\boxed{{\\frac{{{a}}}{{{b}}}}}", f"\\approx\\frac{{{a}}}{{{b}}}"])
    yield from against("5", ["\\approx 5", "5\\;", "5\\quad", "~5", "5\\ ", "\\mathrm{5}"])
    yield from against("3:4", ["3 : 4", "\\frac{3}{4}", "3\\colon 4"], ["4:3"])


def others():
    yield from against("3+4i", ["4i+3", "3 + 4i", "3+i4"], ["3-4i", "4+3i"])
    yield from against("3\\pm\\sqrt{2}", ["3 \\pm \\sqrt 2", "3+\\sqrt{2},3-\\sqrt{2}"], ["3+\\sqrt{2}", "2\\pm\\sqrt{3}"])
    yield from against("\\infty", ["+\\infty", "\\infty "], ["-\\infty", "0"])
    yield from against("\\alpha", ["\\alpha "], ["\\beta", "a"])
    yield from against("x_1", ["x_{1}"], ["x_2", "x"])
    yield from against("2^{x+1}", ["2\\cdot 2^x"], ["2^x+1"])
    yield from against("n(n+1)/2", ["\\frac{n(n+1)}{2}", "\\frac{n^2+n}{2}"], ["\\frac{n(n-1)}{2}"])
    yield from against("\\frac{-b\\pm\\sqrt{b^2-4ac}}{2a}", ["\\frac{-b \\pm \\sqrt{b^{2}-4ac}}{2a}"], ["\\frac{b\\pm\\sqrt{b^2-4ac}}{2a}"])


def lookalikes():
    for truth, answers in [
        ("\\frac{1}{23}", ["\\frac{12}{3}", "\\frac{1}{2}3", "\\frac123"]),
        ("1 1/2", ["11/2", "\\frac{3}{2}", "1.5"]),
        ("1\\frac{1}{2}", ["\\frac{11}{2}"]),
        ("x^{12}", ["x^1\\cdot 2", "12x"]),
        ("\\sqrt{2}3", ["\\sqrt{23}", "3\\sqrt{2}"]),
        ("\\sqrt23", ["\\sqrt{23}", "3\\sqrt{2}"]),
        ("-x^2", ["(-x)^2", "x^2"]),
        ("\\frac{a}{b}c", ["\\frac{a}{bc}", "\\frac{ac}{b}"]),
        ("\\sin x^2", ["(\\sin x)^2"]),
        ("5-(-3)", ["2", "8"]),
        ("(1,2,3)", ["(12,3)", "(1,23)"]),
        ("12,3", ["1,23", "(12,3)", "(3,12)"]),
        ("10\\%", ["0.01", "0.1", "100", "1"]),
        ("7.5\\%", ["0.075", "7.5", "75\\%"]),
        ("10^{-2}", ["-100", "0.01", "10-2"]),
        ("|x|", ["x", "|-x|"]),
        ("\\sqrt{x^2}", ["x", "|x|"]),
        ("(x-1)^2", ["x^2-1", "x^2+1", "(1-x)^2"]),
        ("e", ["2.718", "2.718282"]),
        ("5m", ["5", "5 m"]),
        ("2t", ["2", "2x"]),
        ("5\\text{ cm}", ["5\\text{ m}", "0.05\\text{ m}", "5\\text{ cm}^2"]),
        ("b", ["B", "\\text{B}"]),
        ("x=2y", ["y=2x", "2y", "x-2y=0", "2x=4y"]),
        ("x^2", ["2x", "x2", "x^{2}", "x*x"]),
        ("a/bc", ["\\frac{a}{b}c", "\\frac{a}{bc}"]),
        ("\\frac{x}{2}", ["0.5x", "x/2", "\\frac{1}{2}x", "\\frac{2}{x}"]),
        ("1/3", ["0.33", "33.3333\\%", "0.3333333"]),
        ("007", ["7", "70"]),
        ("1e3", ["1000"]),
        ("\\text{(B) } 5", ["B", "5"]),
        ("3\\text{ and }4", ["3,4", "4 and 3", "34", "7"]),
        ("2:30", ["\\frac{1}{15}", "2.5"]),
        ("12\\text{ cm}, 5\\text{ cm}", ["12, 5", "5,12", "12,6"]),
    ]:
        yield from against(truth, answers)


def calculus():
    yield from against("\\frac{1}{2}", ["\\int_0^1 x\\,dx", "\\sum_{k=1}^{\\infty}\\frac{1}{3^k}"], ["\\int_0^2 x\\,dx"])
    yield from against("15", ["\\sum_{k=1}^{5} k"], ["\\sum_{k=1}^{6} k"])
    yield from against("1", ["\\lim_{x\\to 0}\\frac{\\sin x}{x}"], ["\\lim_{x\\to 0}\\frac{\\sin 2x}{x}"])
    yield from against("120", ["\\prod_{k=1}^{5} k"], ["\\prod_{k=1}^{4} k"])


FAMILIES = [integers, separators, decimals, fractions, rounded, mixed, percentages, degrees, units, money, scientific, surds, pi, powers,
            polynomials, functions, assignments, equations, inequalities, sets, tuples, intervals, matrices, choices, words, wrappers,
            others, lookalikes, calculus]


def verdict(truth: str, answer: str) -> bool:
    return bool(verify(parse(f"${truth}$"), parse(f"${answer}$")))


def main() -> None:
    fixture = {}
    for family in FAMILIES:
        pairs = dict.fromkeys(pair for pair in family() if pair[0] != pair[1])
        fixture[family.__name__] = [[truth, answer, verdict(truth, answer)] for truth, answer in pairs]
    lines = []
    for name, pairs in fixture.items():
        rows = ",\n".join("    " + json.dumps(pair, ensure_ascii=False) for pair in pairs)
        lines.append(f'  "{name}": [\n{rows}\n  ]')
        print(f"{name}: {sum(equal for *_, equal in pairs)} of {len(pairs)} equal")
    (HERE / "fixtures" / "mathematics.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(sum(map(len, fixture.values())), "pairs")


if __name__ == "__main__":
    main()
