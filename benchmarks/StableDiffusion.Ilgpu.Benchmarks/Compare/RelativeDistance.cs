namespace StableDiffusion.Ilgpu.Benchmarks.Compare;

/// <summary>How far two results are from each other.</summary>
internal static class RelativeDistance
{
    /// <summary>Relative L2 distance of <paramref name="values"/> from <paramref name="reference"/>; infinite where their numbers differ.</summary>
    public static double Of(float[] values, float[] reference)
    {
        if (values.Length != reference.Length)
        {
            return double.PositiveInfinity;
        }

        double difference = 0, size = 0;
        for (var i = 0; i < values.Length; i++)
        {
            difference += ((double)values[i] - reference[i]) * ((double)values[i] - reference[i]);
            size += (double)reference[i] * reference[i];
        }

        return Math.Sqrt(difference / size);
    }
}
