using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Pointwise;

/// <summary>The kernels on latents and pictures for devices whose groups have many work-items: one for each element.</summary>
internal static class GpuLatentKernels<T, TFormat>
    where T : unmanaged
    where TFormat : struct, IFormat<T>
{
    private const int WorkItems = 256;

    public static KernelConfig Shape(int count) => new((count + WorkItems - 1) / WorkItems, WorkItems);

    public static void Scale(ConversionArguments<T> a)
    {
        var i = (Grid.IdxX * WorkItems) + Group.IdxX;
        if (i < a.Count)
        {
            LatentElements<T, TFormat>.Scale(a, i);
        }
    }

    public static void ToBytes(ConversionArguments<T> a)
    {
        var i = (Grid.IdxX * WorkItems) + Group.IdxX;
        if (i < a.Count)
        {
            LatentElements<T, TFormat>.ToBytes(a, i);
        }
    }

    public static void Update(LatentUpdateArguments<T> a)
    {
        var i = (Grid.IdxX * WorkItems) + Group.IdxX;
        if (i < a.Count)
        {
            LatentElements<T, TFormat>.Update(a, i);
        }
    }

    public static void Blend(LatentBlendArguments a)
    {
        var i = (Grid.IdxX * WorkItems) + Group.IdxX;
        if (i < a.Count)
        {
            LatentElements<T, TFormat>.Blend(a, i);
        }
    }
}
