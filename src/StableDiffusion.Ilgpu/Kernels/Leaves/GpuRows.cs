using StableDiffusion.Ilgpu.Kernels.Pointwise;

namespace StableDiffusion.Ilgpu.Kernels.Leaves;

/// <summary>What <see cref="PortableRows{T, TFormat}.FinishValue"/> does with one value of a contraction's result, for eight neighbouring ones.</summary>
internal static class GpuRows
{
    /// <param name="epilogue">What is to be done.</param>
    /// <param name="values">The sums, the biases added.</param>
    /// <param name="gates">With Geglu, those of their gates.</param>
    /// <param name="itemBias">Zeros if there is none.</param>
    /// <param name="residual">Zeros if there is none.</param>
    public static Float8 Finish<T, TFormat>(Epilogue epilogue, Float8 values, Float8 gates, Float8 itemBias, Float8 residual)
        where T : unmanaged
        where TFormat : struct, IGpuFormat<T>
    {
        values = Float8.Add(values, itemBias);
        if (epilogue.Geglu != 0)
        {
            values = Float8.Multiply(values, Activations<TFormat>.Of<Activations<TFormat>.Gelu>(gates));
        }

        if (epilogue.ActivatesSum != 0)
        {
            values = Float8.Add(values, residual);
        }

        if (epilogue.Activation != (int)Activation.None && (epilogue.Geglu == 0 || epilogue.ActivatesSum != 0))
        {
            values = Activations<TFormat>.Of(values, epilogue.Activation);
        }

        return epilogue.ActivatesSum != 0 ? values : Float8.Add(values, residual);
    }
}
