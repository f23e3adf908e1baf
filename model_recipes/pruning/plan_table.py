"""The candidates of a plan as a table for a terminal."""

from model_recipes.pruning.planner import Plan


def format_plan(plan: Plan) -> str:
    """Return the candidates as a table for a terminal, the chosen one marked, with the reason below."""
    head = ("hidden", "heads", "kv", "ffn", "layers", "vocab", "parameters", "kept", "F16", "Q4_K_M", "fallback")
    rows: list[tuple[str, ...]] = [(*head, "flops", "damage")]
    for row in plan.candidates:
        sizes = (f"{row['f16_bytes_per_token'] / 1e6:.1f} MB", f"{row['q4_k_m_bytes_per_token'] / 1e6:.1f} MB")
        shape = tuple(f"{row[name]}" for name in ("hidden", "heads", "kv_heads", "ffn", "layers", "vocab"))
        share = (f"{row['parameters']:,}", f"{row['ratio']:.1%}")
        costs = (f"{row['q4_k_m_fallbacks']}", f"{row['flops_per_token'] / 1e9:.3f} G", f"{row['damage']:.2f}")
        rows.append((*shape, *share, *sizes, *costs))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    marks = ["  ", "* ", *["  "] * len(lines)]
    table = [mark + line for mark, line in zip(marks, lines, strict=False)] if plan.candidates else []
    legend = (
        ["  F16, Q4_K_M: bytes that one token reads; fallback: tensors of Q4_K_M in a larger type"] if table else []
    )
    return "\n".join([*table, *legend, plan.reason])
