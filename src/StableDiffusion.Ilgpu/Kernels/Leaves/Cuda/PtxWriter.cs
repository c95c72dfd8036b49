using System.Text;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>PTX, line by line. Percent signs stand as PTX has them but for the arguments %0 … %8 of the text.</summary>
internal sealed class PtxWriter
{
    private readonly StringBuilder text = new();
    private List<string>? kept;

    /// <summary>One or more statements.</summary>
    public void Line(string statements)
    {
        if (kept is not null)
        {
            kept.Add(statements);
            return;
        }

        text.Append('\t').Append(statements).Append('\n');
    }

    /// <summary>
    /// What both write, each in its order, spread evenly over each other: so that one's instructions have something beside them while theirs
    /// take their time. They must not use the same registers for what lasts longer than a line.
    /// </summary>
    public void Mix(Action first, Action second)
    {
        var (a, b) = (Keep(first), Keep(second));
        for (int i = 0, j = 0; i < a.Count || j < b.Count;)
        {
            Line(j == b.Count || (i < a.Count && i * b.Count <= j * a.Count) ? a[i++] : b[j++]);
        }
    }

    private List<string> Keep(Action write)
    {
        var lines = kept = [];
        write();
        kept = null;
        return lines;
    }

    /// <summary>Names with a number from 0 on, in braces: a vector operand.</summary>
    public static string Vector(string name, int first, int count) =>
        $"{{{string.Join(",", Enumerable.Range(first, count).Select(i => name + i))}}}";

    /// <summary>Names in a vector operand.</summary>
    public static int Count(string vector) => vector.Count(c => c == ',') + 1;

    public override string ToString() => text.ToString();
}
