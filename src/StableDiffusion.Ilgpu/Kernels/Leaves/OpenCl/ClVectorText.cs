using System.Globalization;
using System.Text;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;

/// <summary>
/// OpenCL C of the leaves, operation by operation what <c>Leaves/Simd</c> computes. The names that come from outside are in
/// <see cref="ClVectorCode"/>; <c>gfloat</c>, <c>stored</c>, <c>LOAD16</c> and so on in <see cref="ClBlock"/> and <see cref="IClStored"/>.
/// </summary>
internal static partial class ClVectorText
{
    public const string Clear = """
        for (int row = 0; row < rows; row++, to += pitch)
        {
            int i = 0;
            for (; i + 16 <= count; i += 16) vstore16((float16)(0), 0, to + i);
            for (; i < count; i++) to[i] = 0;
        }
        """;

    public const string Widen = """
        for (int row = 0; row < rows; row++, from += sourcePitch, to += targetPitch)
        {
            int i = 0;
            for (; i + 16 <= count; i += 16) vstore16(LOAD16(i, from), 0, to + i);
            for (; i < count; i++) to[i] = LOAD1(i, from);
        }
        """;

    /// <summary>Sums of <paramref name="tall"/> rows, and of four where those do not divide, by one or two vectors.</summary>
    public static string Multiply(int tall, int vectors)
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $$"""
            for (int column = 0; column < bPitch; column += {{16 * vectors}})
            {
                for (int row = 0; row < rows;)
                {
                    gfloat* left = a + row * aPitch;
                    gfloat* right = b + column;
                    gfloat* sums = c + row * cPitch + column;

            """);
        Alternatives(text, tall, vectors, "cPitch", "accumulate", "left[{0} * aPitch]", "left++, right += bPitch");
        return text.Append("}\n}\n").ToString();
    }

    public static string MultiplyTransposed(int tall, int vectors)
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $$"""
            for (int column = 0; column < {{Tile.Columns}}; column += {{16 * vectors}})
            {
                for (int row = 0; row < rows;)
                {
                    gfloat* left = a + row;
                    gfloat* right = b + column;
                    gfloat* sums = c + row * {{Tile.Columns}} + column;

            """);
        Alternatives(text, tall, vectors, $"{Tile.Columns}", "1", "left[{0}]", $"left += aPitch, right += {Tile.Columns}");
        return text.Append("}\n}\n").ToString();
    }

    private static void Alternatives(StringBuilder text, int tall, int vectors, string pitch, string accumulate, string left, string step)
    {
        // Rows come in groups of eight; sixes and fours make up any number of them.
        text.Append(tall == 8 ? "{\n" : "if (rows - row > 8 || rows - row == 6 || rows - row == 5)\n{\n");
        Sums(text, tall, vectors, pitch, accumulate, left, step);
        text.Append("}\n");
        if (tall != 8)
        {
            text.Append("else\n{\n");
            Sums(text, 4, vectors, pitch, accumulate, left, step);
            text.Append("}\n");
        }
    }

    private static void Sums(StringBuilder text, int rows, int vectors, string pitch, string accumulate, string left, string step)
    {
        var sums = Enumerable.Range(0, rows).SelectMany(r => Enumerable.Range(0, vectors), (Row, Vector) => (Row, Vector)).ToArray();
        string Each(string pattern) => string.Concat(sums.Select(s => string.Format(CultureInfo.InvariantCulture, pattern, s.Row, s.Vector) + "\n"));
        text.Append(Each("float16 s{0}_{1} = (float16)(0);"));
        text.Append(CultureInfo.InvariantCulture, $"if ({accumulate})\n{{\n").Append(Each($"s{{0}}_{{1}} = vload16({{1}}, sums + {{0}} * {pitch});")).Append("}\n");
        text.Append(CultureInfo.InvariantCulture, $"for (int k = 0; k < depth; k++, {step})\n{{\n");
        for (var v = 0; v < vectors; v++)
        {
            text.Append(CultureInfo.InvariantCulture, $"float16 b{v} = vload16({v}, right);\n");
        }

        text.Append(Each($"s{{0}}_{{1}} = fma((float16)({left}), b{{1}}, s{{0}}_{{1}});")).Append("}\n");
        text.Append(Each($"vstore16(s{{0}}_{{1}}, {{1}}, sums + {{0}} * {pitch});"));
        text.Append(CultureInfo.InvariantCulture, $"row += {rows};\n");
    }
}
