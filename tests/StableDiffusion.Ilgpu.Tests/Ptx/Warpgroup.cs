namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>Four warps that multiply together: here each for itself, so that it has to be checked that all do the same.</summary>
internal sealed class Warpgroup
{
    public const int Warps = 4;

    private readonly List<(MatrixDescriptor? A, MatrixDescriptor B, bool Adds)> products = [];

    /// <summary>Before a block's first instruction.</summary>
    public void Clear() => products.Clear();

    /// <summary>For a warp's product with a number, counted from 0. There is no <paramref name="a"/> where each warp has its own in registers.</summary>
    public void Check(int number, MatrixDescriptor? a, MatrixDescriptor b, bool adds)
    {
        if (number == products.Count)
        {
            products.Add((a, b, adds));
        }
        else if (products[number] != (a, b, adds))
        {
            throw new PtxException("the warps of the warpgroup multiply different matrices");
        }
    }

    /// <summary>For a warp's products in all.</summary>
    public void CheckCount(int count)
    {
        if (count != products.Count)
        {
            throw new PtxException($"the warps of a warpgroup multiply {count} and {products.Count} times");
        }
    }
}
