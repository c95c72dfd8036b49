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

    public static string Begin
    {
        get
        {
            var (unit, tile) = (default(TUnit), default(TTile));
            var text = new StringBuilder(OpenClSource.BeforeKernel(
                unit.Text, $"{unit.Attributes} __attribute__((reqd_work_group_size({tile.WorkItems}, 1, 1)))"));
            text.Append(unit.Locals);

            // A declaration may not follow a label.
            text.Append(";\n");
            foreach (var (row, column) in Fragments)
            {
                text.Append($"matrix_sums {Sums(row, column)} = 0;\n");
            }

            return text.ToString();
        }
    }

    public static string MultiplyAdd
    {
        get
        {
            var (unit, tile) = (default(TUnit), default(TTile));
            var ints = unit.Layout == FragmentLayout.Chunks ? ChunkInts : 2 * ChunkInts;
            var text = new StringBuilder();
            text.Append($"rows += MATRIX_SUBGROUP % {Shares.RowGroups} * {Shares.RowFragments * unit.Rows * ints};\n");
            text.Append($"columns += MATRIX_SUBGROUP / {Shares.RowGroups} * {Shares.ColumnFragments * unit.Columns * ints};\n");
            for (var row = 0; row < Shares.RowFragments; row++)
            {
                text.Append($"const matrix_rows fragment{row} = MATRIX_READ_ROWS(rows + {row * unit.Rows * ints}, {tile.Rows * ChunkInts});\n");
            }

            text.Append("matrix_columns fragment;\n");
            for (var column = 0; column < Shares.ColumnFragments; column++)
            {
                text.Append($"fragment = MATRIX_READ_COLUMNS(columns + {column * unit.Columns * ints}, {tile.Columns * ChunkInts});\n");
                for (var row = 0; row < Shares.RowFragments; row++)
                {
                    text.Append($"{Sums(row, column)} = MATRIX_MULTIPLY_ADD(fragment{row}, fragment, {Sums(row, column)});\n");
                }
            }

            return text.ToString();
        }
    }

    public static string StoreSums
    {
        get
        {
            var (unit, tile) = (default(TUnit), default(TTile));
            var text = new StringBuilder();
            text.Append($"target += MATRIX_SUBGROUP % {Shares.RowGroups} * {unit.Rows * tile.Columns};\n");
            text.Append($"target += MATRIX_SUBGROUP / {Shares.RowGroups} * {Shares.ColumnFragments * unit.Columns};\n");
            for (var row = 0; row < Shares.RowFragments; row++)
            {
                text.Append($"if (fragment == {row})\n{{\n");
                foreach (var (_, column) in Fragments.Where(f => f.Row == row))
                {
                    for (var i = 0; i < LaneSums; i++)
                    {
                        text.Append($"target[MATRIX_ROW({i}) * {tile.Columns} + {column * unit.Columns} + MATRIX_COLUMN({i})] = {Sums(row, column)}.s{i};\n");
                    }
                }

                text.Append("}\n");
            }

            return text.ToString();
        }
    }

    private static string Sums(int row, int column) => $"sums{row}x{column}";
}
