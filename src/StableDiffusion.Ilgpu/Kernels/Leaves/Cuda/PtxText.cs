using System.Text;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>PTX, line by line. Percent signs are doubled by the writer of a line; %0 … %8 are the text's arguments.</summary>
internal sealed class PtxText
{
    private readonly StringBuilder text = new();

    /// <summary>One or more statements.</summary>
    public void Line(string statements) => text.Append('\t').Append(statements).Append('\n');

    /// <summary>Registers with consecutive numbers, in braces: a vector operand.</summary>
    public static string Vector(string name, int first, int count) =>
        $"{{{string.Join(",", Enumerable.Range(first, count).Select(i => name + i))}}}";

    /// <summary>Registers of a vector operand.</summary>
    public static int Count(string vector) => vector.Count(c => c == ',') + 1;

    public override string ToString() => text.ToString();
}
