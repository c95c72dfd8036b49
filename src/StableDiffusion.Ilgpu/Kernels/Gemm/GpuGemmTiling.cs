using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>
/// The three tiles that <see cref="GpuGemmKernel{T, TFormat}"/> knows. Results do not depend on which is taken: every sum is taken in the order of
/// the depth.
/// </summary>
internal static class GpuGemmTiling
{
    /// <summary>Work-items of a group, whatever its tile.</summary>
    public const int WorkItems = 64;

    public const int LargeRows = 64;
    public const int LargePanels = 2;

    public const int SmallRows = 32;
    public const int SmallPanels = 1;

    /// <summary>For a few rows, such as those of time embeddings, which cost no more than reading the weights.</summary>
    public const int FewRows = 4;
    public const int FewPanels = 4;

    /// <summary>Takes the large tile where there are enough of them to fill a device of so many multiprocessors twice.</summary>
    public static void Choose<T>(ref GemmArguments<T> a, int multiprocessors) where T : unmanaged
    {
        (a.TileRows, a.TilePanels) = (LargeRows, LargePanels);
        if (a.Rows <= FewRows)
        {
            (a.TileRows, a.TilePanels) = (FewRows, FewPanels);
        }
        else if (a.Tiles < 2 * multiprocessors)
        {
            (a.TileRows, a.TilePanels) = (SmallRows, SmallPanels);
        }
    }

    /// <summary>One group for each tile.</summary>
    public static KernelConfig Shape<T>(GemmArguments<T> a) where T : unmanaged => new(a.Tiles, WorkItems);
}
