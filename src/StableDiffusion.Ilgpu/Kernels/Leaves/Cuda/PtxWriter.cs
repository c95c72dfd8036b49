using System.Text;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>PTX, line by line. Percent signs stand as PTX has them but for the arguments %0 … %8 of the text.</summary>
internal sealed class PtxWriter
{
    private readonly StringBuilder text = new();

    /// <summary>One or more statements.</summary>
    public void Line(string statements) => text.Append('\t').Append(statements).Append('\n');

    /// <summary>Names with a number from 0 on, in braces: a vector operand.</summary>
    public static string Vector(string name, int first, int count) =>
        $"{{{string.Join(",", Enumerable.Range(first, count).Select(i => name + i))}}}";

    /// <summary>Names in a vector operand.</summary>
    public static int Count(string vector) => vector.Count(c => c == ',') + 1;

    public override string ToString() => text.ToString();
}
