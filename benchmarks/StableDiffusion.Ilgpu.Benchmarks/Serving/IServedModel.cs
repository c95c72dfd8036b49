namespace StableDiffusion.Ilgpu.Benchmarks.Serving;

/// <summary>A model that <see cref="Server"/> offers to the comparison.</summary>
internal interface IServedModel
{
    /// <summary>What computes, and how, in one line.</summary>
    string About { get; }

    /// <summary>GFLOP of one piece of work as stated by whatever computes it; null where it states none.</summary>
    double? Gflop(Work work);

    /// <summary>Does a piece of work once and returns its milliseconds: only the work, to its very end.</summary>
    double Run(Work work);

    /// <summary>The result of the last run of a piece of work, channels last.</summary>
    float[] Output(Work work);
}
