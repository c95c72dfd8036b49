using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>
/// Memory for one value or for several that lie side by side in its columns: <see cref="Rows"/> rows of <see cref="Pitch"/> elements.
/// It is live from <see cref="First"/> to <see cref="Last"/>, positions in the order of a <see cref="Placement"/>.
/// </summary>
internal sealed class StorageRoot(int index, int rows, int pitch, ElementType type, Rate rate)
{
    public int Index => index;

    public int Rows => rows;

    public int Pitch => pitch;

    public ElementType Type => type;

    /// <summary>The program that writes it.</summary>
    public Rate Rate => rate;

    public int First { get; private set; } = int.MaxValue;

    public int Last { get; private set; }

    /// <summary>Live in all programs, between their runs too.</summary>
    public bool Persistent { get; private set; }

    /// <summary>Changes with the schedule and is read in the step: part of what is kept for every timestep.</summary>
    public bool EntersStep { get; private set; }

    public long Elements => (long)rows * pitch;

    /// <param name="activationBytes">Size of an activation: 2 or 4.</param>
    public long Bytes(int activationBytes) => Elements * (type == ElementType.Activation ? activationBytes : 4);

    public void WriteAt(int position) => (First, Last) = (Math.Min(First, position), Math.Max(Last, position));

    public void ReadAt(int position, Rate reader)
    {
        Last = Math.Max(Last, position);
        Persistent |= reader > rate;
        EntersStep |= rate == Rate.Schedule && reader == Rate.Step;
    }

    public void Keep() => Persistent = true;
}
