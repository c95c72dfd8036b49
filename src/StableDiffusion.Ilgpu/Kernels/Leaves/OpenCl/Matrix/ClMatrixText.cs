using System.Numerics;
using System.Text;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;

/// <summary>What <see cref="ClMatrix{TUnit, TTile}"/> stands for. The sums are variables of the kernel.</summary>
internal static class ClMatrixText<TUnit, TTile>
    where TUnit : struct, IMatrixUnit
    where TTile : struct, IMatrixTile
{
    /// <summary>Ints of eight values.</summary>
    private const int ChunkInts = 4;

    private static readonly MatrixShares Shares = MatrixShares.Of<TUnit, TTile>();

    private static readonly (int Row, int Column)[] Fragments =
        [.. Enumerable.Range(0, Shares.RowFragments).SelectMany(row => Enumerable.Range(0, Shares.ColumnFragments).Select(column => (row, column)))];

    /// <summary>Lanes that hold a fragment hold so many of its sums each.</summary>
    private static int LaneSums => default(TUnit).Rows * default(TUnit).Columns / default(TUnit).Lanes;

    // A declaration may not follow a label.
    public static string Begin => ";\n" + string.Concat(Fragments.Select(f => $"matrix_sums {Sums(f.Row, f.Column)} = 0;\n"));

    public static string MultiplyAdd
    {
        get
        {
            var (unit, tile) = (default(TUnit), default(TTile));
            var ints = unit.Layout == FragmentLayout.Chunks ? ChunkInts : 2 * ChunkInts;
            var text = new StringBuilder();
            text.Append($"rows += {RowGroup} * {unit.Rows * ints};\ncolumns += {ColumnGroup} * {unit.Columns * ints};\n");
            for (var row = 0; row < Shares.RowFragments; row++)
            {
                text.Append($"const matrix_rows fragment{row} = MATRIX_READ_ROWS(rows + {FirstRow(row) * ints}, {tile.Rows * ChunkInts});\n");
            }

            text.Append("matrix_columns fragment;\n");
            for (var column = 0; column < Shares.ColumnFragments; column++)
            {
                text.Append($"fragment = MATRIX_READ_COLUMNS(columns + {FirstColumn(column) * ints}, {tile.Columns * ChunkInts});\n");
                for (var part = 0; part < unit.Parts; part++)
                {
                    var of = unit.Parts == 1 ? "" : $".s{part}";
                    for (var row = 0; row < Shares.RowFragments; row++)
                    {
                        text.Append($"{Sums(row, column)} = MATRIX_MULTIPLY_ADD(fragment{row}{of}, fragment{of}, {Sums(row, column)});\n");
                    }
                }
            }

            return text.ToString();
        }
    }

    public static string Scale
    {
        get
        {
            var text = new StringBuilder($"factors += {RowGroup} * {default(TUnit).Rows};\n");
            for (var row = 0; row < Shares.RowFragments; row++)
            {
                for (var i = 0; i < LaneSums; i++)
                {
                    text.Append($"{{\nconst float factor = factors[{FirstRow(row)} + MATRIX_ROW({i})];\n");
                    for (var column = 0; column < Shares.ColumnFragments; column++)
                    {
                        text.Append($"{Sum(row, column, i)} *= factor;\n");
                    }

                    text.Append("}\n");
                }
            }

            return text.ToString();
        }
    }

    public static string StoreFragment
    {
        get
        {
            var text = new StringBuilder(ToSubGroup);
            for (var row = 0; row < Shares.RowFragments; row++)
            {
                text.Append($"if (fragment == {row})\n{{\n{StoreRows(row, 0)}}}\n");
            }

            return text.ToString();
        }
    }

    public static string Store => ToSubGroup + string.Concat(Enumerable.Range(0, Shares.RowFragments).Select(row => StoreRows(row, FirstRow(row))));

    /// <summary>Groups have one dimension, and their work-items belong to sub-groups in order.</summary>
    private static string SubGroup => $"((int)get_local_id(0) >> {BitOperations.Log2((uint)default(TUnit).Lanes)})";

    private static string RowGroup => $"{SubGroup} % {Shares.RowGroups}";

    private static string ColumnGroup => $"{SubGroup} / {Shares.RowGroups}";

    private static string ToSubGroup =>
        $"target += {RowGroup} * {default(TUnit).Rows * default(TTile).SumsPitch} + {ColumnGroup} * {default(TUnit).Columns};\n";

    /// <summary>Fragments of all sub-groups lie side by side before the next ones of each begin.</summary>
    private static int FirstRow(int fragment) => fragment * Shares.RowGroups * default(TUnit).Rows;

    private static int FirstColumn(int fragment) => fragment * Shares.ColumnGroups * default(TUnit).Columns;

    private static string StoreRows(int row, int firstRow)
    {
        var text = new StringBuilder();
        for (var column = 0; column < Shares.ColumnFragments; column++)
        {
            for (var i = 0; i < LaneSums; i++)
            {
                text.Append($"target[({firstRow} + MATRIX_ROW({i})) * {default(TTile).SumsPitch} + {FirstColumn(column)} + MATRIX_COLUMN({i})] = {Sum(row, column, i)};\n");
            }
        }

        return text.ToString();
    }

    private static string Sum(int row, int column, int i) => LaneSums == 1 ? Sums(row, column) : $"{Sums(row, column)}.s{i}";

    private static string Sums(int row, int column) => $"{default(TTile).Name}{row}x{column}";
}
